-- migration 1 notes mysql
CREATE TABLE `notes` (
    `title` VARCHAR(80) NOT NULL,
    `body` LONGTEXT NOT NULL,
    `version` INTEGER NOT NULL,
    `id` CHAR(36) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
    `created_at` DATETIME(6) NOT NULL,
    PRIMARY KEY (`id`),
    CONSTRAINT `notes_title_key` UNIQUE (`title`)
) ENGINE = InnoDB DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;

-- migration 1 notes postgres
CREATE TABLE "notes" (
    "title" VARCHAR(80) COLLATE "C" NOT NULL,
    "body" TEXT COLLATE "C" NOT NULL,
    "version" INTEGER NOT NULL,
    "id" UUID NOT NULL,
    "created_at" TIMESTAMPTZ NOT NULL,
    CONSTRAINT "notes_pkey" PRIMARY KEY ("id"),
    CONSTRAINT "notes_title_key" UNIQUE ("title")
);
