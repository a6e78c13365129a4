-- All tables of this library, as ordered migrations: first the MySQL half, then the Postgres half.
-- Never edit a migration, not even a comment in it: a checksum tells. A change is a new migration,
-- with the next number of its half.
--
-- Each begins with its marker:  migration NUMBER name mysql|postgres [no-transaction]
-- Names of constraints: <table>_pkey, <table>_<columns>_key (unique), <table>_<column>_fkey,
-- <table>_<column>_check.

-- ======================================= MySQL and MariaDB =======================================

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

-- migration 2 data_moves mysql
-- How far each data move has come: a row for each move into this database. A move makes the table where it is absent.
CREATE TABLE IF NOT EXISTS infra_moves (
    name        VARCHAR(100) NOT NULL,
    batches     INTEGER      NOT NULL,
    is_done     BOOLEAN      NOT NULL,
    description LONGTEXT     NOT NULL,
    progress    LONGTEXT     NOT NULL,
    created_at  DATETIME(6)  NOT NULL,
    updated_at  DATETIME(6)  NOT NULL,
    PRIMARY KEY (name)
) ENGINE = InnoDB DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;

-- migration 3 benchmark_exchange mysql
-- A column called …_folded holds a text as Python folds it (NFC, casefold), which makes a text at
-- most three times as long. A row has at most 65,535 bytes: long texts are LONGTEXT.
CREATE TABLE users (
    id              CHAR(36)     CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
    email           VARCHAR(254) NOT NULL,
    username        VARCHAR(50)  NOT NULL,
    display_name    VARCHAR(100) NOT NULL,
    role            VARCHAR(20)  NOT NULL,
    email_verified  BOOLEAN      NOT NULL,
    profile         LONGTEXT     NOT NULL,
    created_at      DATETIME(6)  NOT NULL,
    updated_at      DATETIME(6)  NOT NULL,
    last_active_at  DATETIME(6)  NULL,
    email_folded    VARCHAR(762) NOT NULL,
    username_folded VARCHAR(150) NOT NULL,
    password_hash   VARCHAR(255) NULL,
    PRIMARY KEY (id),
    CONSTRAINT users_email_key UNIQUE (email_folded),
    CONSTRAINT users_username_key UNIQUE (username_folded),
    CONSTRAINT users_role_check CHECK
        (role IN ('anonymous', 'registered', 'contributor', 'reviewer', 'admin')),
    INDEX users_created_at_idx (created_at, id),
    INDEX users_updated_at_idx (updated_at, id),
    INDEX users_username_idx (username, id)
) ENGINE = InnoDB DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;

CREATE TABLE organizations (
    id                CHAR(36)      CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
    name              VARCHAR(200)  NOT NULL,
    slug              VARCHAR(100)  NOT NULL,
    description       VARCHAR(5000) NOT NULL,
    website           VARCHAR(2000) NULL,
    logo_url          VARCHAR(2000) NULL,
    organization_type VARCHAR(20)   NOT NULL,
    verified          BOOLEAN       NOT NULL,
    verification_date DATETIME(6)   NULL,
    created_at        DATETIME(6)   NOT NULL,
    updated_at        DATETIME(6)   NOT NULL,
    search_folded     LONGTEXT      NOT NULL,
    PRIMARY KEY (id),
    CONSTRAINT organizations_slug_key UNIQUE (slug),
    CONSTRAINT organizations_organization_type_check CHECK (organization_type IN
        ('llm_provider', 'research_institution', 'enterprise', 'open_source', 'individual')),
    INDEX organizations_created_at_idx (created_at, id),
    INDEX organizations_updated_at_idx (updated_at, id),
    INDEX organizations_name_idx (name, id),
    INDEX organizations_type_idx (organization_type, created_at, id)
) ENGINE = InnoDB DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;

CREATE TABLE organization_members (
    organization_id CHAR(36)    CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
    user_id         CHAR(36)    CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
    role            VARCHAR(20) NOT NULL,
    created_at      DATETIME(6) NOT NULL,
    PRIMARY KEY (organization_id, user_id),
    CONSTRAINT organization_members_organization_id_fkey FOREIGN KEY (organization_id)
        REFERENCES organizations (id) ON DELETE CASCADE,
    CONSTRAINT organization_members_user_id_fkey FOREIGN KEY (user_id)
        REFERENCES users (id) ON DELETE RESTRICT,
    CONSTRAINT organization_members_role_check CHECK (role IN ('member', 'admin', 'owner')),
    INDEX organization_members_created_at_idx (organization_id, created_at, user_id),
    INDEX organization_members_owner_idx (organization_id, role),
    INDEX organization_members_user_id_idx (user_id)
) ENGINE = InnoDB DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;

CREATE TABLE benchmarks (
    id                  CHAR(36)      CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
    slug                VARCHAR(100)  NOT NULL,
    name                VARCHAR(200)  NOT NULL,
    description         VARCHAR(5000) NOT NULL,
    long_description    LONGTEXT      NOT NULL,
    category            VARCHAR(20)   NOT NULL,
    status              VARCHAR(20)   NOT NULL,
    version             VARCHAR(30)   NOT NULL,
    license             VARCHAR(100)  NULL,
    created_by          CHAR(36)      CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
    evaluation_criteria LONGTEXT      NOT NULL,
    execution_config    LONGTEXT      NOT NULL,
    test_cases          LONGTEXT      NOT NULL,
    -- its row of benchmark_versions, the current one
    version_id          CHAR(36)      CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
    created_at          DATETIME(6)   NOT NULL,
    updated_at          DATETIME(6)   NOT NULL,
    search_folded       LONGTEXT      NOT NULL,
    PRIMARY KEY (id),
    CONSTRAINT benchmarks_slug_key UNIQUE (slug),
    CONSTRAINT benchmarks_created_by_fkey FOREIGN KEY (created_by)
        REFERENCES users (id) ON DELETE RESTRICT,
    CONSTRAINT benchmarks_category_check CHECK (category IN
        ('performance', 'accuracy', 'reliability', 'safety', 'cost', 'capability')),
    CONSTRAINT benchmarks_status_check CHECK (status IN
        ('draft', 'under_review', 'active', 'deprecated', 'archived')),
    INDEX benchmarks_created_at_idx (created_at, id),
    INDEX benchmarks_updated_at_idx (updated_at, id),
    INDEX benchmarks_name_idx (name, id),
    INDEX benchmarks_category_idx (category, created_at, id),
    INDEX benchmarks_created_by_idx (created_by)
) ENGINE = InnoDB DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;

CREATE TABLE benchmark_tags (
    benchmark_id CHAR(36)    CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
    tag          VARCHAR(50) NOT NULL,
    PRIMARY KEY (benchmark_id, tag),
    CONSTRAINT benchmark_tags_benchmark_id_fkey FOREIGN KEY (benchmark_id)
        REFERENCES benchmarks (id) ON DELETE CASCADE,
    INDEX benchmark_tags_tag_idx (tag, benchmark_id)
) ENGINE = InnoDB DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;

CREATE TABLE benchmark_versions (
    id                  CHAR(36)       CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
    benchmark_id        CHAR(36)       CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
    version             VARCHAR(30)    NOT NULL,
    number              INTEGER        NOT NULL, -- 1, 2, 3, …: the order of a benchmark's versions
    changelog           VARCHAR(10000) NOT NULL,
    breaking            BOOLEAN        NOT NULL,
    evaluation_criteria LONGTEXT       NOT NULL,
    execution_config    LONGTEXT       NOT NULL,
    test_cases          LONGTEXT       NOT NULL,
    created_at          DATETIME(6)    NOT NULL,
    PRIMARY KEY (id),
    CONSTRAINT benchmark_versions_benchmark_id_id_key UNIQUE (benchmark_id, id),
    CONSTRAINT benchmark_versions_benchmark_id_version_key UNIQUE (benchmark_id, version),
    CONSTRAINT benchmark_versions_benchmark_id_number_key UNIQUE (benchmark_id, number),
    CONSTRAINT benchmark_versions_benchmark_id_fkey FOREIGN KEY (benchmark_id)
        REFERENCES benchmarks (id) ON DELETE CASCADE
) ENGINE = InnoDB DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;

CREATE TABLE submissions (
    id                   CHAR(36)     CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
    benchmark_id         CHAR(36)     CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
    benchmark_version_id CHAR(36)     CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
    model                VARCHAR(200) NOT NULL,
    user_id              CHAR(36)     CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
    organization_id      CHAR(36)     CHARACTER SET ascii COLLATE ascii_bin NULL,
    aggregate_score      DOUBLE       NULL, -- NULL: not ranked
    results              LONGTEXT     NOT NULL,
    execution            LONGTEXT     NOT NULL,
    verification_level   VARCHAR(20)  NOT NULL,
    verified_at          DATETIME(6)  NULL,
    verification         LONGTEXT     NULL,
    visibility           VARCHAR(20)  NOT NULL,
    created_at           DATETIME(6)  NOT NULL,
    updated_at           DATETIME(6)  NOT NULL,
    PRIMARY KEY (id),
    CONSTRAINT submissions_benchmark_version_id_fkey
        FOREIGN KEY (benchmark_id, benchmark_version_id)
        REFERENCES benchmark_versions (benchmark_id, id) ON DELETE RESTRICT,
    CONSTRAINT submissions_user_id_fkey FOREIGN KEY (user_id)
        REFERENCES users (id) ON DELETE RESTRICT,
    CONSTRAINT submissions_organization_id_fkey FOREIGN KEY (organization_id)
        REFERENCES organizations (id) ON DELETE RESTRICT,
    CONSTRAINT submissions_aggregate_score_check CHECK
        (aggregate_score BETWEEN -1.7976931348623157e308 AND 1.7976931348623157e308),
    CONSTRAINT submissions_verification_level_check CHECK (verification_level IN
        ('unverified', 'community_verified', 'platform_verified', 'audited')),
    CONSTRAINT submissions_visibility_check CHECK
        (visibility IN ('public', 'unlisted', 'private')),
    -- For the foreign key. MySQL 9.7 does not check one whose index goes on with a column that is
    -- NULL in the row, so no other index begins with these two.
    INDEX submissions_benchmark_version_id_idx (benchmark_id, benchmark_version_id),
    -- Ranks are read by these three; there is no index of some rows only.
    INDEX submissions_leaderboard_idx
        (benchmark_id, visibility, aggregate_score DESC, created_at, id),
    INDEX submissions_version_leaderboard_idx
        (benchmark_version_id, benchmark_id, visibility, aggregate_score DESC, created_at, id),
    INDEX submissions_best_for_model_idx
        (benchmark_id, model, visibility, aggregate_score DESC, created_at, id),
    INDEX submissions_benchmark_id_idx (benchmark_id, created_at, id),
    INDEX submissions_visibility_idx (benchmark_id, visibility, created_at, id),
    INDEX submissions_version_model_idx (benchmark_version_id, model),
    INDEX submissions_user_id_idx (user_id, created_at, id),
    INDEX submissions_organization_id_idx (organization_id),
    INDEX submissions_created_at_idx (created_at, id),
    INDEX submissions_updated_at_idx (updated_at, id),
    INDEX submissions_aggregate_score_idx (aggregate_score, id)
) ENGINE = InnoDB DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;

-- migration 4 outbox mysql
-- Events that wait to be sent, and those that were sent lately.
CREATE TABLE infra_outbox (
    id         BIGINT       NOT NULL AUTO_INCREMENT,
    bucket     INTEGER      NOT NULL,
    channel    VARCHAR(255) NOT NULL,
    message_id VARCHAR(36)  NOT NULL,
    payload    LONGTEXT     NOT NULL,
    created_at DATETIME(6)  NOT NULL,
    sent_at    DATETIME(6)  NULL,
    PRIMARY KEY (id),
    INDEX infra_outbox_sent_at_idx (sent_at, bucket, id)
) ENGINE = InnoDB DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;

-- The relay that sends the events of a bucket.
CREATE TABLE infra_outbox_leases (
    bucket INTEGER     NOT NULL,
    owner  VARCHAR(32) NULL,
    beats  BIGINT      NOT NULL,
    PRIMARY KEY (bucket)
) ENGINE = InnoDB DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;

-- The messages that each group has handled.
CREATE TABLE infra_inbox (
    group_name VARCHAR(100) NOT NULL,
    message_id VARCHAR(255) NOT NULL,
    created_at DATETIME(6)  NOT NULL,
    PRIMARY KEY (group_name, message_id),
    INDEX infra_inbox_created_at_idx (created_at)
) ENGINE = InnoDB DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;

-- migration 5 audit mysql
-- Who did what to what. Rows are inserted only, here and in the next table: docs/audit.md shows the
-- rights that see to it. An event of a stream has its version, and the stream is its subject.
CREATE TABLE infra_audit (
    id         BIGINT       NOT NULL AUTO_INCREMENT,
    created_at DATETIME(6)  NOT NULL,
    actor      VARCHAR(255) NOT NULL,
    action     VARCHAR(100) NOT NULL,
    subject    VARCHAR(255) NOT NULL,
    version    INTEGER      NULL,
    data       LONGTEXT     NULL,
    PRIMARY KEY (id),
    CONSTRAINT infra_audit_subject_version_key UNIQUE (subject, version),
    INDEX infra_audit_created_at_idx (created_at, id),
    INDEX infra_audit_subject_idx (subject, id)
) ENGINE = InnoDB DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;

-- The chain over them. Position 0 belongs to no entry: it tells whether the key is the same.
CREATE TABLE infra_audit_seals (
    position BIGINT      NOT NULL,
    entry_id BIGINT      NOT NULL,
    mac      VARCHAR(64) NOT NULL,
    PRIMARY KEY (position),
    CONSTRAINT infra_audit_seals_entry_id_key UNIQUE (entry_id)
) ENGINE = InnoDB DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;

-- =========================================== Postgres ============================================

-- migration 1 benchmark_exchange postgres
-- A column called …_folded holds a text as Python folds it (NFC, casefold): engines fold otherwise.
CREATE TABLE users (
    id              UUID                      NOT NULL,
    email           VARCHAR(254) COLLATE "C"  NOT NULL,
    username        VARCHAR(50) COLLATE "C"   NOT NULL,
    display_name    VARCHAR(100) COLLATE "C"  NOT NULL,
    role            VARCHAR(20) COLLATE "C"   NOT NULL,
    email_verified  BOOLEAN                   NOT NULL,
    profile         JSON                      NOT NULL,
    created_at      TIMESTAMPTZ               NOT NULL,
    updated_at      TIMESTAMPTZ               NOT NULL,
    last_active_at  TIMESTAMPTZ               NULL,
    email_folded    TEXT COLLATE "C"          NOT NULL,
    username_folded TEXT COLLATE "C"          NOT NULL,
    password_hash   VARCHAR(255) COLLATE "C"  NULL,
    CONSTRAINT users_pkey PRIMARY KEY (id),
    CONSTRAINT users_email_key UNIQUE (email_folded),
    CONSTRAINT users_username_key UNIQUE (username_folded),
    CONSTRAINT users_role_check CHECK (role IN ('anonymous', 'registered', 'contributor', 'reviewer', 'admin'))
);
CREATE INDEX users_created_at_idx ON users (created_at, id);
CREATE INDEX users_updated_at_idx ON users (updated_at, id);
CREATE INDEX users_username_idx ON users (username, id);

CREATE TABLE organizations (
    id                UUID                       NOT NULL,
    name              VARCHAR(200) COLLATE "C"   NOT NULL,
    slug              VARCHAR(100) COLLATE "C"   NOT NULL,
    description       VARCHAR(5000) COLLATE "C"  NOT NULL,
    website           VARCHAR(2000) COLLATE "C"  NULL,
    logo_url          VARCHAR(2000) COLLATE "C"  NULL,
    organization_type VARCHAR(20) COLLATE "C"    NOT NULL,
    verified          BOOLEAN                    NOT NULL,
    verification_date TIMESTAMPTZ                NULL,
    created_at        TIMESTAMPTZ                NOT NULL,
    updated_at        TIMESTAMPTZ                NOT NULL,
    search_folded     TEXT COLLATE "C"           NOT NULL,
    CONSTRAINT organizations_pkey PRIMARY KEY (id),
    CONSTRAINT organizations_slug_key UNIQUE (slug),
    CONSTRAINT organizations_organization_type_check CHECK (organization_type IN
        ('llm_provider', 'research_institution', 'enterprise', 'open_source', 'individual'))
);
CREATE INDEX organizations_created_at_idx ON organizations (created_at, id);
CREATE INDEX organizations_updated_at_idx ON organizations (updated_at, id);
CREATE INDEX organizations_name_idx ON organizations (name, id);
CREATE INDEX organizations_type_idx ON organizations (organization_type, created_at, id);

CREATE TABLE organization_members (
    organization_id UUID                     NOT NULL,
    user_id         UUID                     NOT NULL,
    role            VARCHAR(20) COLLATE "C"  NOT NULL,
    created_at      TIMESTAMPTZ              NOT NULL,
    CONSTRAINT organization_members_pkey PRIMARY KEY (organization_id, user_id),
    CONSTRAINT organization_members_organization_id_fkey FOREIGN KEY (organization_id)
        REFERENCES organizations (id) ON DELETE CASCADE,
    CONSTRAINT organization_members_user_id_fkey FOREIGN KEY (user_id) REFERENCES users (id) ON DELETE RESTRICT,
    CONSTRAINT organization_members_role_check CHECK (role IN ('member', 'admin', 'owner'))
);
CREATE INDEX organization_members_created_at_idx ON organization_members (organization_id, created_at, user_id);
CREATE INDEX organization_members_owner_idx ON organization_members (organization_id) WHERE role = 'owner';
CREATE INDEX organization_members_user_id_idx ON organization_members (user_id);

CREATE TABLE benchmarks (
    id                  UUID                        NOT NULL,
    slug                VARCHAR(100) COLLATE "C"    NOT NULL,
    name                VARCHAR(200) COLLATE "C"    NOT NULL,
    description         VARCHAR(5000) COLLATE "C"   NOT NULL,
    long_description    VARCHAR(100000) COLLATE "C" NOT NULL,
    category            VARCHAR(20) COLLATE "C"     NOT NULL,
    status              VARCHAR(20) COLLATE "C"     NOT NULL,
    version             VARCHAR(30) COLLATE "C"     NOT NULL,
    license             VARCHAR(100) COLLATE "C"    NULL,
    created_by          UUID                        NOT NULL,
    evaluation_criteria JSON                        NOT NULL,
    execution_config    JSON                        NOT NULL,
    test_cases          JSON                        NOT NULL,
    version_id          UUID                        NOT NULL, -- its row of benchmark_versions, the current one
    created_at          TIMESTAMPTZ                 NOT NULL,
    updated_at          TIMESTAMPTZ                 NOT NULL,
    search_folded       TEXT COLLATE "C"            NOT NULL,
    CONSTRAINT benchmarks_pkey PRIMARY KEY (id),
    CONSTRAINT benchmarks_slug_key UNIQUE (slug),
    CONSTRAINT benchmarks_created_by_fkey FOREIGN KEY (created_by) REFERENCES users (id) ON DELETE RESTRICT,
    CONSTRAINT benchmarks_category_check CHECK (category IN
        ('performance', 'accuracy', 'reliability', 'safety', 'cost', 'capability')),
    CONSTRAINT benchmarks_status_check CHECK (status IN
        ('draft', 'under_review', 'active', 'deprecated', 'archived'))
);
CREATE INDEX benchmarks_created_at_idx ON benchmarks (created_at, id);
CREATE INDEX benchmarks_updated_at_idx ON benchmarks (updated_at, id);
CREATE INDEX benchmarks_name_idx ON benchmarks (name, id);
CREATE INDEX benchmarks_category_idx ON benchmarks (category, created_at, id);
CREATE INDEX benchmarks_created_by_idx ON benchmarks (created_by);

CREATE TABLE benchmark_tags (
    benchmark_id UUID                     NOT NULL,
    tag          VARCHAR(50) COLLATE "C"  NOT NULL,
    CONSTRAINT benchmark_tags_pkey PRIMARY KEY (benchmark_id, tag),
    CONSTRAINT benchmark_tags_benchmark_id_fkey FOREIGN KEY (benchmark_id)
        REFERENCES benchmarks (id) ON DELETE CASCADE
);
CREATE INDEX benchmark_tags_tag_idx ON benchmark_tags (tag, benchmark_id);

CREATE TABLE benchmark_versions (
    id                  UUID                       NOT NULL,
    benchmark_id        UUID                       NOT NULL,
    version             VARCHAR(30) COLLATE "C"    NOT NULL,
    number              INTEGER                    NOT NULL, -- 1, 2, 3, …: the order of a benchmark's versions
    changelog           VARCHAR(10000) COLLATE "C" NOT NULL,
    breaking            BOOLEAN                    NOT NULL,
    evaluation_criteria JSON                       NOT NULL,
    execution_config    JSON                       NOT NULL,
    test_cases          JSON                       NOT NULL,
    created_at          TIMESTAMPTZ                NOT NULL,
    CONSTRAINT benchmark_versions_pkey PRIMARY KEY (id),
    CONSTRAINT benchmark_versions_benchmark_id_id_key UNIQUE (benchmark_id, id),
    CONSTRAINT benchmark_versions_benchmark_id_version_key UNIQUE (benchmark_id, version),
    CONSTRAINT benchmark_versions_benchmark_id_number_key UNIQUE (benchmark_id, number),
    CONSTRAINT benchmark_versions_benchmark_id_fkey FOREIGN KEY (benchmark_id)
        REFERENCES benchmarks (id) ON DELETE CASCADE
);

CREATE TABLE submissions (
    id                   UUID                      NOT NULL,
    benchmark_id         UUID                      NOT NULL,
    benchmark_version_id UUID                      NOT NULL,
    model                VARCHAR(200) COLLATE "C"  NOT NULL,
    user_id              UUID                      NOT NULL,
    organization_id      UUID                      NULL,
    aggregate_score      DOUBLE PRECISION          NULL, -- NULL: not ranked
    results              JSON                      NOT NULL,
    execution            JSON                      NOT NULL,
    verification_level   VARCHAR(20) COLLATE "C"   NOT NULL,
    verified_at          TIMESTAMPTZ               NULL,
    verification         JSON                      NULL,
    visibility           VARCHAR(20) COLLATE "C"   NOT NULL,
    created_at           TIMESTAMPTZ               NOT NULL,
    updated_at           TIMESTAMPTZ               NOT NULL,
    CONSTRAINT submissions_pkey PRIMARY KEY (id),
    CONSTRAINT submissions_benchmark_version_id_fkey FOREIGN KEY (benchmark_id, benchmark_version_id)
        REFERENCES benchmark_versions (benchmark_id, id) ON DELETE RESTRICT,
    CONSTRAINT submissions_user_id_fkey FOREIGN KEY (user_id) REFERENCES users (id) ON DELETE RESTRICT,
    CONSTRAINT submissions_organization_id_fkey FOREIGN KEY (organization_id)
        REFERENCES organizations (id) ON DELETE RESTRICT,
    CONSTRAINT submissions_aggregate_score_check CHECK (aggregate_score > '-Infinity' AND aggregate_score < 'Infinity'),
    CONSTRAINT submissions_verification_level_check CHECK (verification_level IN
        ('unverified', 'community_verified', 'platform_verified', 'audited')),
    CONSTRAINT submissions_visibility_check CHECK (visibility IN ('public', 'unlisted', 'private'))
);
-- The three by which ranks are read hold nothing else.
CREATE INDEX submissions_leaderboard_idx ON submissions (benchmark_id, aggregate_score DESC, created_at, id)
    WHERE visibility = 'public' AND aggregate_score IS NOT NULL;
CREATE INDEX submissions_version_leaderboard_idx
    ON submissions (benchmark_id, benchmark_version_id, aggregate_score DESC, created_at, id)
    WHERE visibility = 'public' AND aggregate_score IS NOT NULL;
CREATE INDEX submissions_best_for_model_idx ON submissions (benchmark_id, model, aggregate_score DESC, created_at, id)
    WHERE visibility = 'public' AND aggregate_score IS NOT NULL;
CREATE INDEX submissions_benchmark_id_idx ON submissions (benchmark_id, created_at, id);
CREATE INDEX submissions_not_public_idx ON submissions (benchmark_id, visibility, created_at, id)
    WHERE visibility <> 'public';
CREATE INDEX submissions_version_model_idx ON submissions (benchmark_version_id, model);
CREATE INDEX submissions_user_id_idx ON submissions (user_id, created_at, id);
CREATE INDEX submissions_organization_id_idx ON submissions (organization_id) WHERE organization_id IS NOT NULL;
CREATE INDEX submissions_created_at_idx ON submissions (created_at, id);
CREATE INDEX submissions_updated_at_idx ON submissions (updated_at, id);
CREATE INDEX submissions_aggregate_score_idx ON submissions (aggregate_score, id);

-- migration 2 data_moves postgres
CREATE TABLE IF NOT EXISTS infra_moves (
    name        VARCHAR(100) COLLATE "C"  NOT NULL,
    batches     INTEGER                   NOT NULL,
    is_done     BOOLEAN                   NOT NULL,
    description JSON                      NOT NULL,
    progress    JSON                      NOT NULL,
    created_at  TIMESTAMPTZ               NOT NULL,
    updated_at  TIMESTAMPTZ               NOT NULL,
    CONSTRAINT infra_moves_pkey PRIMARY KEY (name)
);

-- migration 3 phone_accounts postgres
CREATE TABLE phone_users (
    id            UUID                    NOT NULL,
    phone_hash    VARCHAR(64) COLLATE "C" NOT NULL,
    country_code  VARCHAR(3) COLLATE "C"  NOT NULL,
    user_type     VARCHAR(20) COLLATE "C" NULL,
    is_verified   BOOLEAN                 NOT NULL,
    is_blocked    BOOLEAN                 NOT NULL,
    created_at    TIMESTAMPTZ             NOT NULL,
    updated_at    TIMESTAMPTZ             NOT NULL,
    last_login_at TIMESTAMPTZ             NULL,
    CONSTRAINT phone_users_pkey PRIMARY KEY (id),
    CONSTRAINT phone_users_phone_hash_key UNIQUE (phone_hash),
    CONSTRAINT phone_users_user_type_check CHECK (user_type IN ('customer', 'worker'))
);
CREATE INDEX phone_users_created_at_idx ON phone_users (created_at, id);

CREATE TABLE refresh_tokens (
    id            UUID                     NOT NULL,
    user_id       UUID                     NOT NULL,
    token_hash    VARCHAR(64) COLLATE "C"  NOT NULL,
    family        UUID                     NOT NULL,
    created_at    TIMESTAMPTZ              NOT NULL,
    expires_at    TIMESTAMPTZ              NOT NULL,
    last_used_at  TIMESTAMPTZ              NULL,
    revoked_at    TIMESTAMPTZ              NULL,
    revoke_reason VARCHAR(100) COLLATE "C" NULL,
    replaced_by   UUID                     NULL,
    device_id     VARCHAR(255) COLLATE "C" NULL,
    device_name   VARCHAR(255) COLLATE "C" NULL,
    ip_address    VARCHAR(45) COLLATE "C"  NULL,
    user_agent    VARCHAR(512) COLLATE "C" NULL,
    CONSTRAINT refresh_tokens_pkey PRIMARY KEY (id),
    CONSTRAINT refresh_tokens_token_hash_key UNIQUE (token_hash),
    CONSTRAINT refresh_tokens_user_id_fkey FOREIGN KEY (user_id)
        REFERENCES phone_users (id) ON DELETE CASCADE
);
CREATE INDEX refresh_tokens_user_id_idx ON refresh_tokens (user_id, created_at);
CREATE INDEX refresh_tokens_family_idx ON refresh_tokens (family, id);
CREATE INDEX refresh_tokens_expires_at_idx ON refresh_tokens (expires_at);

-- migration 4 outbox postgres
CREATE TABLE infra_outbox (
    id         BIGINT                   NOT NULL GENERATED BY DEFAULT AS IDENTITY,
    bucket     INTEGER                  NOT NULL,
    channel    VARCHAR(255) COLLATE "C" NOT NULL,
    message_id VARCHAR(36) COLLATE "C"  NOT NULL,
    payload    TEXT COLLATE "C"         NOT NULL,
    created_at TIMESTAMPTZ              NOT NULL,
    sent_at    TIMESTAMPTZ              NULL,
    CONSTRAINT infra_outbox_pkey PRIMARY KEY (id)
);
CREATE INDEX infra_outbox_sent_at_idx ON infra_outbox (sent_at, bucket, id);

CREATE TABLE infra_outbox_leases (
    bucket INTEGER                 NOT NULL,
    owner  VARCHAR(32) COLLATE "C" NULL,
    beats  BIGINT                  NOT NULL,
    CONSTRAINT infra_outbox_leases_pkey PRIMARY KEY (bucket)
);

CREATE TABLE infra_inbox (
    group_name VARCHAR(100) COLLATE "C" NOT NULL,
    message_id VARCHAR(255) COLLATE "C" NOT NULL,
    created_at TIMESTAMPTZ              NOT NULL,
    CONSTRAINT infra_inbox_pkey PRIMARY KEY (group_name, message_id)
);
CREATE INDEX infra_inbox_created_at_idx ON infra_inbox (created_at);

-- migration 5 audit postgres
CREATE TABLE infra_audit (
    id         BIGINT                   NOT NULL GENERATED BY DEFAULT AS IDENTITY,
    created_at TIMESTAMPTZ              NOT NULL,
    actor      VARCHAR(255) COLLATE "C" NOT NULL,
    action     VARCHAR(100) COLLATE "C" NOT NULL,
    subject    VARCHAR(255) COLLATE "C" NOT NULL,
    version    INTEGER                  NULL,
    data       JSON                     NULL,
    CONSTRAINT infra_audit_pkey PRIMARY KEY (id),
    CONSTRAINT infra_audit_subject_version_key UNIQUE (subject, version)
);
CREATE INDEX infra_audit_created_at_idx ON infra_audit (created_at, id);
CREATE INDEX infra_audit_subject_idx ON infra_audit (subject, id);

CREATE TABLE infra_audit_seals (
    position BIGINT                  NOT NULL,
    entry_id BIGINT                  NOT NULL,
    mac      VARCHAR(64) COLLATE "C" NOT NULL,
    CONSTRAINT infra_audit_seals_pkey PRIMARY KEY (position),
    CONSTRAINT infra_audit_seals_entry_id_key UNIQUE (entry_id)
);
