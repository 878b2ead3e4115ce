import GRDB

/// The tables, as named migrations: one that was released is never edited, a change is a new one.
enum Schema {
    static let migrator: DatabaseMigrator = {
        var migrator = DatabaseMigrator()
        migrator.registerMigration("1 accounts") { try $0.execute(sql: accounts) }
        migrator.registerMigration("2 records") { try $0.execute(sql: records) }
        migrator.registerMigration("3 attach key terms") { try $0.execute(sql: attachKeyTerms) }
        migrator.registerMigration("4 attach key proofs") { try $0.execute(sql: attachKeyProofs) }
        migrator.registerMigration("5 names") { try $0.execute(sql: names) }
        migrator.registerMigration("6 mesh rules") { try $0.execute(sql: meshRules) }
        migrator.registerMigration("7 upstreams") { try $0.execute(sql: upstreams) }
        migrator.registerMigration("8 market") { try $0.execute(sql: market) }
        migrator.registerMigration("9 quotas") { try $0.execute(sql: quotas) }
        migrator.registerMigration("10 usage") { try $0.execute(sql: usage) }
        migrator.registerMigration("11 provider terms") { try $0.execute(sql: providerTerms) }
        migrator.registerMigration("12 publications") { try $0.execute(sql: publications) }
        migrator.registerMigration("13 default models") { try $0.execute(sql: defaultModels) }
        return migrator
    }()

    private static let meshRules = """
        CREATE TABLE mesh_rules (
            kind TEXT NOT NULL CHECK (kind IN ('allow', 'peer')),
            value TEXT NOT NULL,
            added_at INTEGER NOT NULL,
            PRIMARY KEY (kind, value)
        ) STRICT;
        """

    private static let upstreams = """
        CREATE TABLE upstreams (
            provider INTEGER NOT NULL PRIMARY KEY REFERENCES providers (id) ON DELETE CASCADE,
            base_url TEXT NOT NULL,
            endpoints TEXT NOT NULL,
            has_key INTEGER NOT NULL DEFAULT 0
        ) STRICT;
        """

    private static let providerTerms = """
        ALTER TABLE providers ADD COLUMN data_policy TEXT NOT NULL DEFAULT 'unknown';
        ALTER TABLE upstreams ADD COLUMN headers TEXT NOT NULL DEFAULT '';
        ALTER TABLE upstreams ADD COLUMN renamed TEXT NOT NULL DEFAULT '';
        ALTER TABLE upstreams ADD COLUMN cold_start INTEGER NOT NULL DEFAULT 0;
        CREATE TABLE prices (
            provider INTEGER NOT NULL REFERENCES providers (id) ON DELETE CASCADE,
            position INTEGER NOT NULL,
            model TEXT NOT NULL,
            currency TEXT NOT NULL CHECK (length(currency) = 3),
            input INTEGER NOT NULL,
            cached_input INTEGER,
            output INTEGER NOT NULL,
            request INTEGER NOT NULL,
            image INTEGER NOT NULL,
            second INTEGER NOT NULL,
            PRIMARY KEY (provider, model)
        ) STRICT;
        """

    private static let accounts = """
        CREATE TABLE users (
            username TEXT NOT NULL PRIMARY KEY,
            owner_key BLOB NOT NULL UNIQUE CHECK (length(owner_key) = 32),
            created_at INTEGER NOT NULL,
            disabled INTEGER NOT NULL DEFAULT 0
        ) STRICT;
        CREATE TABLE providers (
            id INTEGER PRIMARY KEY,
            scope TEXT NOT NULL,
            provider_id TEXT NOT NULL,
            owner_key BLOB NOT NULL CHECK (length(owner_key) = 32),
            access TEXT NOT NULL CHECK (access IN ('public', 'owner', 'named')),
            named_owners BLOB NOT NULL CHECK (length(named_owners) % 32 = 0),
            kind TEXT NOT NULL,
            display_name TEXT NOT NULL,
            max_concurrency INTEGER NOT NULL,
            created_at INTEGER NOT NULL,
            UNIQUE (scope, provider_id)
        ) STRICT;
        CREATE INDEX providers_by_owner ON providers (owner_key);
        CREATE TABLE attach_keys (
            public_key BLOB NOT NULL PRIMARY KEY CHECK (length(public_key) = 32),
            provider INTEGER NOT NULL REFERENCES providers (id) ON DELETE CASCADE,
            position INTEGER NOT NULL,
            label TEXT NOT NULL,
            created_at INTEGER NOT NULL,
            not_after INTEGER
        ) STRICT;
        CREATE INDEX attach_keys_by_provider ON attach_keys (provider, position);
        CREATE TABLE api_keys (
            public_key BLOB NOT NULL PRIMARY KEY CHECK (length(public_key) = 32),
            username TEXT NOT NULL,
            owner_key BLOB NOT NULL CHECK (length(owner_key) = 32),
            label TEXT NOT NULL,
            scopes TEXT NOT NULL,
            created_at INTEGER NOT NULL,
            expires_at INTEGER,
            revoked_at INTEGER
        ) STRICT;
        CREATE INDEX api_keys_by_username ON api_keys (username, created_at);
        """

    private static let defaultModels = "ALTER TABLE api_keys ADD COLUMN default_model TEXT;"

    private static let records = """
        CREATE TABLE versions (
            signer BLOB NOT NULL PRIMARY KEY CHECK (length(signer) = 32),
            epoch INTEGER NOT NULL,
            sequence INTEGER NOT NULL
        ) STRICT;
        CREATE TABLE own_records (
            record_key BLOB NOT NULL PRIMARY KEY CHECK (length(record_key) = 16),
            bytes BLOB NOT NULL
        ) STRICT;
        CREATE TABLE records (
            record_key BLOB NOT NULL PRIMARY KEY CHECK (length(record_key) = 16),
            bytes BLOB NOT NULL
        ) STRICT;
        CREATE TABLE peers (
            node_key BLOB NOT NULL PRIMARY KEY CHECK (length(node_key) = 32),
            address TEXT,
            last_seen INTEGER
        ) STRICT;
        CREATE TABLE meta (
            key TEXT NOT NULL PRIMARY KEY,
            value TEXT NOT NULL
        ) STRICT;
        """

    private static let attachKeyTerms = """
        ALTER TABLE attach_keys ADD COLUMN allowed_hosts BLOB NOT NULL DEFAULT x''
            CHECK (length(allowed_hosts) % 32 = 0);
        ALTER TABLE attach_keys ADD COLUMN derivation INTEGER NOT NULL DEFAULT 0;
        """

    private static let attachKeyProofs = """
        ALTER TABLE attach_keys ADD COLUMN proof BLOB CHECK (length(proof) = 64);
        """
}
