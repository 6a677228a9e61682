BEGIN TRANSACTION;
CREATE TABLE adapters (
	id INTEGER NOT NULL, 
	name TEXT NOT NULL, 
	run_id INTEGER, 
	status TEXT NOT NULL, 
	base TEXT NOT NULL, 
	created BIGINT NOT NULL, 
	metrics JSON NOT NULL, 
	CONSTRAINT pk_adapters PRIMARY KEY (id), 
	CONSTRAINT uq_adapters_name UNIQUE (name), 
	CONSTRAINT fk_adapters_run_id_runs FOREIGN KEY(run_id) REFERENCES runs (id)
);
CREATE TABLE alembic_version (
	version_num VARCHAR(32) NOT NULL, 
	CONSTRAINT alembic_version_pkc PRIMARY KEY (version_num)
);
INSERT INTO "alembic_version" VALUES('0001');
CREATE TABLE champions (
	id INTEGER NOT NULL, 
	name TEXT NOT NULL, 
	reason TEXT NOT NULL, 
	time BIGINT NOT NULL, 
	CONSTRAINT pk_champions PRIMARY KEY (id)
);
CREATE TABLE channels (
	id INTEGER NOT NULL, 
	platform TEXT NOT NULL, 
	guild TEXT NOT NULL, 
	channel TEXT NOT NULL, 
	persona TEXT, 
	adapter TEXT, 
	reset_message INTEGER NOT NULL, 
	reset_exchange INTEGER NOT NULL, 
	reset_time BIGINT, 
	CONSTRAINT pk_channels PRIMARY KEY (id), 
	CONSTRAINT uq_channels_platform_guild_channel UNIQUE (platform, guild, channel)
);
INSERT INTO "channels" VALUES(1,'console','local','general','Be kind.',NULL,0,0,NULL);
CREATE TABLE curve_points (
	run_id INTEGER NOT NULL, 
	step INTEGER NOT NULL, 
	name TEXT NOT NULL, 
	value FLOAT, 
	CONSTRAINT pk_curve_points PRIMARY KEY (run_id, step, name), 
	CONSTRAINT fk_curve_points_run_id_runs FOREIGN KEY(run_id) REFERENCES runs (id)
)
 WITHOUT ROWID

;
CREATE TABLE events (
	id INTEGER NOT NULL, 
	kind TEXT NOT NULL, 
	time BIGINT NOT NULL, 
	data JSON NOT NULL, 
	CONSTRAINT pk_events PRIMARY KEY (id)
);
CREATE TABLE exchange_authors (
	exchange_id INTEGER NOT NULL, 
	position INTEGER NOT NULL, 
	author TEXT NOT NULL, 
	CONSTRAINT pk_exchange_authors PRIMARY KEY (exchange_id, position), 
	CONSTRAINT fk_exchange_authors_exchange_id_exchanges FOREIGN KEY(exchange_id) REFERENCES exchanges (id)
);
INSERT INTO "exchange_authors" VALUES(1,0,'ann');
CREATE TABLE exchange_platform_ids (
	channel_id INTEGER NOT NULL, 
	platform_id TEXT NOT NULL, 
	exchange_id INTEGER NOT NULL, 
	position INTEGER NOT NULL, 
	CONSTRAINT pk_exchange_platform_ids PRIMARY KEY (channel_id, platform_id), 
	CONSTRAINT fk_exchange_platform_ids_channel_id_channels FOREIGN KEY(channel_id) REFERENCES channels (id), 
	CONSTRAINT fk_exchange_platform_ids_exchange_id_exchanges FOREIGN KEY(exchange_id) REFERENCES exchanges (id)
);
INSERT INTO "exchange_platform_ids" VALUES(1,'r1',1,0);
CREATE TABLE exchanges (
	id INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT, 
	channel_id INTEGER NOT NULL, 
	after_message INTEGER NOT NULL, 
	asker TEXT NOT NULL, 
	adapter TEXT NOT NULL, 
	base TEXT NOT NULL, 
	finish TEXT NOT NULL, 
	time BIGINT NOT NULL, 
	private BOOLEAN NOT NULL, 
	reply TEXT NOT NULL, 
	sampling JSON NOT NULL, 
	timings JSON NOT NULL, 
	reply_ids BLOB NOT NULL, 
	prompt_ids BLOB NOT NULL, 
	prompt JSON NOT NULL, 
	CONSTRAINT fk_exchanges_channel_id_channels FOREIGN KEY(channel_id) REFERENCES channels (id)
);
INSERT INTO "exchanges" VALUES(1,1,1,'ann','v0001','fingerprint','stop',1795285800123456,0,'hi ann','{"temperature": 0.5, "gone": 1}','{"total": 0.25}',X'0700000002000000',X'01000000FFFFFFFF','[["user", "hello"]]');
INSERT INTO "exchanges" VALUES(2,1,1,'ann','v0002','fingerprint','stop',1795285800123456,0,'hi again','{}','{}',X'',X'','[]');
CREATE TABLE messages (
	id INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT, 
	channel_id INTEGER NOT NULL, 
	platform_id TEXT NOT NULL, 
	author TEXT NOT NULL, 
	author_name TEXT NOT NULL, 
	time BIGINT NOT NULL, 
	private BOOLEAN NOT NULL, 
	text TEXT NOT NULL, 
	CONSTRAINT uq_messages_channel_id_platform_id UNIQUE (channel_id, platform_id), 
	CONSTRAINT fk_messages_channel_id_channels FOREIGN KEY(channel_id) REFERENCES channels (id)
);
INSERT INTO "messages" VALUES(1,1,'m1','ann','Ann',1795285800123456,0,'hello');
CREATE TABLE runs (
	id INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT, 
	"trigger" TEXT NOT NULL, 
	status TEXT NOT NULL, 
	stage TEXT NOT NULL, 
	progress FLOAT NOT NULL, 
	adapter TEXT, 
	snapshot TEXT, 
	message TEXT NOT NULL, 
	started BIGINT NOT NULL, 
	finished BIGINT, 
	settings JSON NOT NULL, 
	metrics JSON NOT NULL
);
CREATE TABLE settings (
	"key" TEXT NOT NULL, 
	value JSON NOT NULL, 
	CONSTRAINT pk_settings PRIMARY KEY ("key")
);
CREATE TABLE verdicts (
	id INTEGER NOT NULL, 
	adapter TEXT NOT NULL, 
	champion TEXT NOT NULL, 
	outcome TEXT NOT NULL, 
	sentence TEXT NOT NULL, 
	time BIGINT NOT NULL, 
	checks JSON NOT NULL, 
	CONSTRAINT pk_verdicts PRIMARY KEY (id)
);
CREATE TABLE versions (
	id INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT, 
	time BIGINT NOT NULL
);
INSERT INTO "versions" VALUES(2,1795285800123456);
CREATE TABLE votes (
	id INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT, 
	exchange_id INTEGER NOT NULL, 
	rater TEXT NOT NULL, 
	value INTEGER NOT NULL, 
	source TEXT NOT NULL, 
	time BIGINT NOT NULL, 
	CONSTRAINT fk_votes_exchange_id_exchanges FOREIGN KEY(exchange_id) REFERENCES exchanges (id)
);
INSERT INTO "votes" VALUES(1,1,'bob',1,'reaction',1795285800123456);
INSERT INTO "votes" VALUES(2,1,'bob',-1,'reaction',1795285800123457);
INSERT INTO "votes" VALUES(3,1,'cid',1,'button',1795285800123456);
INSERT INTO "votes" VALUES(4,1,'cid',0,'button',1795285800123457);
INSERT INTO "votes" VALUES(5,2,'ann',1,'button',1795285800123456);
CREATE INDEX ix_channels_adapter ON channels (adapter);
CREATE INDEX ix_runs_finished ON runs (finished);
CREATE INDEX ix_verdicts_adapter_id ON verdicts (adapter, id);
CREATE INDEX ix_events_kind_id ON events (kind, id);
CREATE INDEX ix_messages_author ON messages (author);
CREATE INDEX ix_messages_channel_id_id ON messages (channel_id, id);
CREATE INDEX ix_exchanges_channel_id_id ON exchanges (channel_id, id);
CREATE INDEX ix_adapters_status ON adapters (status);
CREATE INDEX ix_exchange_authors_author_exchange_id ON exchange_authors (author, exchange_id);
CREATE INDEX ix_exchange_platform_ids_exchange_id_position ON exchange_platform_ids (exchange_id, position);
CREATE INDEX ix_votes_time_value ON votes (time, value);
CREATE INDEX ix_votes_exchange_id_id ON votes (exchange_id, id);
CREATE INDEX ix_votes_rater ON votes (rater);
DELETE FROM "sqlite_sequence";
INSERT INTO "sqlite_sequence" VALUES('messages',1);
INSERT INTO "sqlite_sequence" VALUES('exchanges',2);
INSERT INTO "sqlite_sequence" VALUES('votes',5);
INSERT INTO "sqlite_sequence" VALUES('versions',2);
COMMIT;
