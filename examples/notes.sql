-- migration 1 notes mysql
CREATE TABLE notes (
    title VARCHAR(80) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin NOT NULL,
    body TEXT CHARACTER SET utf8mb4 NOT NULL,
    version INTEGER NOT NULL,
    id CHAR(36) CHARACTER SET ascii COLLATE ascii_bin NOT NULL PRIMARY KEY,
    created_at DATETIME(6) NOT NULL,
    CONSTRAINT notes_title_key UNIQUE (title)
);

-- migration 1 notes postgres
CREATE TABLE notes (
    title VARCHAR(80) COLLATE "C" NOT NULL,
    body TEXT NOT NULL,
    version INTEGER NOT NULL,
    id UUID NOT NULL PRIMARY KEY,
    created_at TIMESTAMPTZ NOT NULL,
    CONSTRAINT notes_title_key UNIQUE (title)
);
