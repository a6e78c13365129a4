-- Every table of this library, as ordered migrations: first the MySQL half, then the Postgres half. An applied migration
-- is never edited: a change is a new migration, with the next number of its half.
--
-- Each begins with its marker:  migration NUMBER name mysql|postgres [no-transaction]
-- Names of rules: <table>_pkey, <table>_<columns>_key (unique), <table>_<column>_fkey, <table>_<column>_check.

-- ============================================== MySQL and MariaDB ==============================================

-- migration 1 phone_accounts mysql
CREATE TABLE phone_users (
    id            CHAR(36)     CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
    phone_hash    CHAR(64)     CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
    country_code  VARCHAR(3)   CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
    user_type     VARCHAR(20)  CHARACTER SET ascii COLLATE ascii_bin NULL,
    is_verified   BOOLEAN      NOT NULL,
    is_blocked    BOOLEAN      NOT NULL,
    created_at    DATETIME(6)  NOT NULL,
    updated_at    DATETIME(6)  NOT NULL,
    last_login_at DATETIME(6)  NULL,
    PRIMARY KEY (id),
    CONSTRAINT phone_users_phone_hash_key UNIQUE (phone_hash),
    CONSTRAINT phone_users_user_type_check CHECK (user_type IN ('customer', 'worker')),
    INDEX phone_users_created_at_idx (created_at, id)
) ENGINE = InnoDB DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;

CREATE TABLE refresh_tokens (
    id            CHAR(36)     CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
    user_id       CHAR(36)     CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
    token_hash    CHAR(64)     CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
    family        CHAR(36)     CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
    created_at    DATETIME(6)  NOT NULL,
    expires_at    DATETIME(6)  NOT NULL,
    last_used_at  DATETIME(6)  NULL,
    revoked_at    DATETIME(6)  NULL,
    revoke_reason VARCHAR(100) NULL,
    replaced_by   CHAR(36)     CHARACTER SET ascii COLLATE ascii_bin NULL,
    device_id     VARCHAR(255) NULL,
    device_name   VARCHAR(255) NULL,
    ip_address    VARCHAR(45)  NULL,
    user_agent    VARCHAR(512) NULL,
    PRIMARY KEY (id),
    CONSTRAINT refresh_tokens_token_hash_key UNIQUE (token_hash),
    CONSTRAINT refresh_tokens_user_id_fkey FOREIGN KEY (user_id) REFERENCES phone_users (id) ON DELETE CASCADE,
    INDEX refresh_tokens_user_id_idx (user_id, created_at),
    INDEX refresh_tokens_family_idx (family, id),
    INDEX refresh_tokens_expires_at_idx (expires_at)
) ENGINE = InnoDB DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;

-- ================================================= Postgres ==================================================

-- The benchmark exchange is not there yet.
