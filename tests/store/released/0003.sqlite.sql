BEGIN TRANSACTION;
CREATE TABLE alembic_version (
	version_num VARCHAR(32) NOT NULL, 
	CONSTRAINT alembic_version_pkc PRIMARY KEY (version_num)
);
INSERT INTO "alembic_version" VALUES('0003');
CREATE TABLE api_keys (
	id BLOB NOT NULL, 
	workspace_id BLOB NOT NULL, 
	app_id BLOB NOT NULL, 
	digest BLOB NOT NULL, 
	prefix TEXT NOT NULL, 
	created_at BIGINT NOT NULL, 
	revoked_at BIGINT, 
	CONSTRAINT pk_api_keys PRIMARY KEY (id), 
	CONSTRAINT uq_api_keys_digest UNIQUE (digest), 
	CONSTRAINT fk_api_keys_workspace_id FOREIGN KEY(workspace_id) REFERENCES workspaces (id), 
	CONSTRAINT fk_api_keys_app_id FOREIGN KEY(app_id) REFERENCES apps (id)
);
INSERT INTO "api_keys" VALUES(X'000000000000000000000000000003F0',X'00000000000070008000000000000001',X'00000000000000000000000000000001',X'00FF00FF00FF00FF00FF00FF00FF00FF00FF00FF00FF00FF00FF00FF00FF00FF','app-abcd',1793534820000000,NULL);
CREATE TABLE app_configs (
	id BLOB NOT NULL, 
	workspace_id BLOB NOT NULL, 
	app_id BLOB NOT NULL, 
	version INTEGER NOT NULL, 
	config TEXT NOT NULL, 
	source TEXT NOT NULL, 
	created_at BIGINT NOT NULL, 
	CONSTRAINT pk_app_configs PRIMARY KEY (id), 
	CONSTRAINT uq_app_configs_app_id_version UNIQUE (app_id, version), 
	CONSTRAINT fk_app_configs_workspace_id FOREIGN KEY(workspace_id) REFERENCES workspaces (id), 
	CONSTRAINT fk_app_configs_app_id FOREIGN KEY(app_id) REFERENCES apps (id)
);
INSERT INTO "app_configs" VALUES(X'000000000000000000000000000003EB',X'00000000000070008000000000000001',X'00000000000000000000000000000001',1,'{"model":{"provider":"scripted","name":"m","mode":"chat","params":{},"stop":[]},"prompt_type":"simple","pre_prompt":"Be kind.","chat_prompt":[],"completion_prompt":"","user_prefix":"Human","assistant_prefix":"Assistant","form":[],"raw_form":[],"opening_statement":null,"suggested_questions":[],"suggestions_enabled":false,"citations_enabled":true,"more_like_this_enabled":false,"blocking":true,"leaving":"finish","reasoning":"answer","max_active_requests":0,"files":{"enabled":false,"types":["image"],"extensions":[],"methods":["remote_url","local_file"],"most":3,"detail":"high"},"agent":null,"origins":[]}','file',1793534460000000);
INSERT INTO "app_configs" VALUES(X'000000000000000000000000000003EE',X'00000000000070008000000000000001',X'00000000000000000000000000000001',2,'{"model":{"provider":"scripted","name":"m","mode":"chat","params":{},"stop":[]},"prompt_type":"simple","pre_prompt":"Be brief.","chat_prompt":[],"completion_prompt":"","user_prefix":"Human","assistant_prefix":"Assistant","form":[],"raw_form":[],"opening_statement":null,"suggested_questions":[],"suggestions_enabled":false,"citations_enabled":true,"more_like_this_enabled":false,"blocking":true,"leaving":"finish","reasoning":"answer","max_active_requests":0,"files":{"enabled":false,"types":["image"],"extensions":[],"methods":["remote_url","local_file"],"most":3,"detail":"high"},"agent":null,"origins":[]}','file',1793534640000000);
INSERT INTO "app_configs" VALUES(X'0000000000000000000000000000040A',X'00000000000070008000000000000001',X'00000000000000000000000000000002',1,'{"model":{"provider":"scripted","name":"m","mode":"chat","params":{},"stop":[]},"prompt_type":"simple","pre_prompt":"","chat_prompt":[],"completion_prompt":"","user_prefix":"Human","assistant_prefix":"Assistant","form":[],"raw_form":[],"opening_statement":null,"suggested_questions":[],"suggestions_enabled":false,"citations_enabled":true,"more_like_this_enabled":false,"blocking":true,"leaving":"finish","reasoning":"answer","max_active_requests":0,"files":{"enabled":false,"types":["image"],"extensions":[],"methods":["remote_url","local_file"],"most":3,"detail":"high"},"agent":null,"origins":[]}','file',1793536320000000);
CREATE TABLE apps (
	id BLOB NOT NULL, 
	workspace_id BLOB NOT NULL, 
	name TEXT NOT NULL, 
	mode TEXT NOT NULL, 
	site TEXT NOT NULL, 
	api_enabled BOOLEAN NOT NULL, 
	config_id BLOB NOT NULL, 
	created_at BIGINT NOT NULL, 
	updated_at BIGINT NOT NULL, 
	deleted_at BIGINT, 
	CONSTRAINT pk_apps PRIMARY KEY (id), 
	CONSTRAINT fk_apps_workspace_id FOREIGN KEY(workspace_id) REFERENCES workspaces (id)
);
INSERT INTO "apps" VALUES(X'00000000000000000000000000000001',X'00000000000070008000000000000001','Helper','chat','{"title":"Helper","description":"","icon":"🤖","icon_background":"#FFEAD5","icon_type":"emoji","default_language":"en-US","copyright":"","privacy_policy":"","custom_disclaimer":"","chat_color_theme":"","chat_color_theme_inverted":false,"use_icon_as_answer_icon":false}',1,X'000000000000000000000000000003EE',1793534460000000,1793534640000000,NULL);
INSERT INTO "apps" VALUES(X'00000000000000000000000000000002',X'00000000000070008000000000000001','Gone','chat','{"title":"Gone","description":"","icon":"🤖","icon_background":"#FFEAD5","icon_type":"emoji","default_language":"en-US","copyright":"","privacy_policy":"","custom_disclaimer":"","chat_color_theme":"","chat_color_theme_inverted":false,"use_icon_as_answer_icon":false}',1,X'0000000000000000000000000000040A',1793536320000000,1793536500000000,1793536500000000);
CREATE TABLE conversations (
	id BLOB NOT NULL, 
	workspace_id BLOB NOT NULL, 
	app_id BLOB NOT NULL, 
	user_id BLOB NOT NULL, 
	config_id BLOB NOT NULL, 
	name TEXT NOT NULL, 
	inputs TEXT NOT NULL, 
	introduction TEXT NOT NULL, 
	pinned BOOLEAN NOT NULL, 
	created_at BIGINT NOT NULL, 
	updated_at BIGINT NOT NULL, 
	deleted_at BIGINT, 
	CONSTRAINT pk_conversations PRIMARY KEY (id), 
	CONSTRAINT fk_conversations_workspace_id FOREIGN KEY(workspace_id) REFERENCES workspaces (id), 
	CONSTRAINT fk_conversations_app_id FOREIGN KEY(app_id) REFERENCES apps (id), 
	CONSTRAINT fk_conversations_user_id FOREIGN KEY(user_id) REFERENCES end_users (id), 
	CONSTRAINT fk_conversations_config_id FOREIGN KEY(config_id) REFERENCES app_configs (id)
);
INSERT INTO "conversations" VALUES(X'00000000000000000000000000000003',X'00000000000070008000000000000001',X'00000000000000000000000000000001',X'000000000000000000000000000003F1',X'000000000000000000000000000003EE','New conversation','{"大": 1606938044258990275541962092341162602522202993782792835301376, "f": 0.1, "é": "😀", "none": null}','Hello.',0,1793535060000000,1793535900000000,NULL);
INSERT INTO "conversations" VALUES(X'00000000000000000000000000000004',X'00000000000070008000000000000001',X'00000000000000000000000000000001',X'00000000000000000000000000000402',X'000000000000000000000000000003EE','New conversation','{"大": 1606938044258990275541962092341162602522202993782792835301376, "f": 0.1, "é": "😀", "none": null}','Hello.',0,1793536260000000,1793536260000000,NULL);
CREATE TABLE end_users (
	id BLOB NOT NULL, 
	workspace_id BLOB NOT NULL, 
	app_id BLOB NOT NULL, 
	source TEXT NOT NULL, 
	name TEXT NOT NULL, 
	created_at BIGINT NOT NULL, 
	CONSTRAINT pk_end_users PRIMARY KEY (id), 
	CONSTRAINT uq_end_users_app_id_source_name_workspace_id UNIQUE (app_id, source, name, workspace_id), 
	CONSTRAINT fk_end_users_workspace_id FOREIGN KEY(workspace_id) REFERENCES workspaces (id), 
	CONSTRAINT fk_end_users_app_id FOREIGN KEY(app_id) REFERENCES apps (id)
);
INSERT INTO "end_users" VALUES(X'000000000000000000000000000003F1',X'00000000000070008000000000000001',X'00000000000000000000000000000001','api','ann',1793535060000000);
INSERT INTO "end_users" VALUES(X'00000000000000000000000000000402',X'00000000000070008000000000000001',X'00000000000000000000000000000001','api','bob',1793536080000000);
CREATE TABLE feedback (
	id BLOB NOT NULL, 
	workspace_id BLOB NOT NULL, 
	app_id BLOB NOT NULL, 
	user_id BLOB NOT NULL, 
	message_id BLOB NOT NULL, 
	source TEXT NOT NULL, 
	rating TEXT NOT NULL, 
	content TEXT, 
	created_at BIGINT NOT NULL, 
	updated_at BIGINT NOT NULL, 
	CONSTRAINT pk_feedback PRIMARY KEY (id), 
	CONSTRAINT uq_feedback_message_id_source UNIQUE (message_id, source), 
	CONSTRAINT fk_feedback_workspace_id FOREIGN KEY(workspace_id) REFERENCES workspaces (id), 
	CONSTRAINT fk_feedback_app_id FOREIGN KEY(app_id) REFERENCES apps (id), 
	CONSTRAINT fk_feedback_user_id FOREIGN KEY(user_id) REFERENCES end_users (id), 
	CONSTRAINT fk_feedback_message_id FOREIGN KEY(message_id) REFERENCES messages (id)
);
INSERT INTO "feedback" VALUES(X'000000000000000000000000000003F6',X'00000000000070008000000000000001',X'00000000000000000000000000000001',X'000000000000000000000000000003F1',X'000000000000000000000000000003F2','api','like','good',1793535180000000,1793535180000000);
CREATE TABLE message_files (
	id BLOB NOT NULL, 
	workspace_id BLOB NOT NULL, 
	message_id BLOB NOT NULL, 
	file_id BLOB NOT NULL, 
	position INTEGER NOT NULL, 
	belongs_to TEXT NOT NULL, 
	method TEXT NOT NULL, 
	url TEXT, 
	CONSTRAINT pk_message_files PRIMARY KEY (id), 
	CONSTRAINT uq_message_files_message_id_position UNIQUE (message_id, position), 
	CONSTRAINT fk_message_files_workspace_id FOREIGN KEY(workspace_id) REFERENCES workspaces (id), 
	CONSTRAINT fk_message_files_message_id FOREIGN KEY(message_id) REFERENCES messages (id), 
	CONSTRAINT fk_message_files_file_id FOREIGN KEY(file_id) REFERENCES upload_files (id)
);
INSERT INTO "message_files" VALUES(X'00000000000000000000000000000405',X'00000000000070008000000000000001',X'00000000000000000000000000000406',X'00000000000000000000000000000403',1,'user','remote_url','https://example.org/cat.png');
CREATE TABLE messages (
	id BLOB NOT NULL, 
	workspace_id BLOB NOT NULL, 
	app_id BLOB NOT NULL, 
	user_id BLOB NOT NULL, 
	conversation_id BLOB NOT NULL, 
	config_id BLOB NOT NULL, 
	key_id BLOB, 
	parent_id BLOB, 
	position INTEGER NOT NULL, 
	inputs TEXT NOT NULL, 
	"query" TEXT NOT NULL, 
	answer TEXT NOT NULL, 
	reasoning TEXT NOT NULL, 
	outcome TEXT NOT NULL, 
	error_code TEXT, 
	error TEXT, 
	owner BLOB NOT NULL, 
	heartbeat_at BIGINT NOT NULL, 
	created_at BIGINT NOT NULL, 
	finished_at BIGINT, file_count INTEGER DEFAULT '0' NOT NULL, thought_count INTEGER DEFAULT '0' NOT NULL, 
	CONSTRAINT pk_messages PRIMARY KEY (id), 
	CONSTRAINT uq_messages_conversation_id_position UNIQUE (conversation_id, position), 
	CONSTRAINT fk_messages_workspace_id FOREIGN KEY(workspace_id) REFERENCES workspaces (id), 
	CONSTRAINT fk_messages_app_id FOREIGN KEY(app_id) REFERENCES apps (id), 
	CONSTRAINT fk_messages_user_id FOREIGN KEY(user_id) REFERENCES end_users (id), 
	CONSTRAINT fk_messages_conversation_id FOREIGN KEY(conversation_id) REFERENCES conversations (id), 
	CONSTRAINT fk_messages_config_id FOREIGN KEY(config_id) REFERENCES app_configs (id), 
	CONSTRAINT fk_messages_key_id FOREIGN KEY(key_id) REFERENCES api_keys (id)
);
INSERT INTO "messages" VALUES(X'000000000000000000000000000003F2',X'00000000000070008000000000000001',X'00000000000000000000000000000001',X'000000000000000000000000000003F1',X'00000000000000000000000000000003',X'000000000000000000000000000003EE',NULL,NULL,1,'{"大": 1606938044258990275541962092341162602522202993782792835301376, "f": 0.1, "é": "😀", "none": null}','why?','He said: "你好"
	  😀 \u0000','hm','normal',NULL,NULL,X'00000000000000000000000000000007',1795761828868018,1793535060000000,1793535120000000,0,2);
INSERT INTO "messages" VALUES(X'000000000000000000000000000003F7',X'00000000000070008000000000000001',X'00000000000000000000000000000001',X'000000000000000000000000000003F1',X'00000000000000000000000000000003',X'000000000000000000000000000003EE',NULL,X'000000000000000000000000000003F2',2,'{"大": 1606938044258990275541962092341162602522202993782792835301376, "f": 0.1, "é": "😀", "none": null}','stopped','half','','stopped',NULL,NULL,X'00000000000000000000000000000007',1795761828880007,1793535360000000,1793535420000000,0,0);
INSERT INTO "messages" VALUES(X'000000000000000000000000000003FA',X'00000000000070008000000000000001',X'00000000000000000000000000000001',X'000000000000000000000000000003F1',X'00000000000000000000000000000003',X'000000000000000000000000000003EE',NULL,X'000000000000000000000000000003F7',3,'{"大": 1606938044258990275541962092341162602522202993782792835301376, "f": 0.1, "é": "😀", "none": null}','error','half','','error','completion_request_error','Why.',X'00000000000000000000000000000007',1795761828882019,1793535540000000,1793535600000000,0,0);
INSERT INTO "messages" VALUES(X'000000000000000000000000000003FD',X'00000000000070008000000000000001',X'00000000000000000000000000000001',X'000000000000000000000000000003F1',X'00000000000000000000000000000003',X'000000000000000000000000000003EE',NULL,X'000000000000000000000000000003FA',4,'{"大": 1606938044258990275541962092341162602522202993782792835301376, "f": 0.1, "é": "😀", "none": null}','interrupted','half','','interrupted','completion_request_error','Why.',X'00000000000000000000000000000007',1795761828883990,1793535720000000,1793535780000000,0,0);
INSERT INTO "messages" VALUES(X'00000000000000000000000000000400',X'00000000000070008000000000000001',X'00000000000000000000000000000001',X'000000000000000000000000000003F1',X'00000000000000000000000000000003',X'000000000000000000000000000003EE',NULL,X'000000000000000000000000000003FD',5,'{"大": 1606938044258990275541962092341162602522202993782792835301376, "f": 0.1, "é": "😀", "none": null}','running','half','','running',NULL,NULL,X'00000000000000000000000000000007',1795761828886002,1793535900000000,NULL,0,0);
INSERT INTO "messages" VALUES(X'00000000000000000000000000000406',X'00000000000070008000000000000001',X'00000000000000000000000000000001',X'00000000000000000000000000000402',X'00000000000000000000000000000004',X'000000000000000000000000000003EE',NULL,NULL,1,'{"大": 1606938044258990275541962092341162602522202993782792835301376, "f": 0.1, "é": "😀", "none": null}','why?','','','running',NULL,NULL,X'00000000000000000000000000000007',1795761828895014,1793536260000000,NULL,1,0);
CREATE TABLE rounds (
	message_id BLOB NOT NULL, 
	position INTEGER NOT NULL, 
	workspace_id BLOB NOT NULL, 
	provider TEXT NOT NULL, 
	model TEXT NOT NULL, 
	prompt_tokens INTEGER NOT NULL, 
	completion_tokens INTEGER NOT NULL, 
	prompt_unit_price TEXT, 
	completion_unit_price TEXT, 
	price_unit TEXT, 
	prompt_price TEXT NOT NULL, 
	completion_price TEXT NOT NULL, 
	currency TEXT, 
	estimated BOOLEAN NOT NULL, 
	latency FLOAT NOT NULL, 
	CONSTRAINT pk_rounds PRIMARY KEY (message_id, position), 
	CONSTRAINT fk_rounds_workspace_id FOREIGN KEY(workspace_id) REFERENCES workspaces (id), 
	CONSTRAINT fk_rounds_message_id FOREIGN KEY(message_id) REFERENCES messages (id)
);
INSERT INTO "rounds" VALUES(X'000000000000000000000000000003F2',1,X'00000000000070008000000000000001','openai','small',11,3,'0.15','0.60','0.000001','0.0000017','0.0000018','USD',0,0.25);
INSERT INTO "rounds" VALUES(X'000000000000000000000000000003F2',2,X'00000000000070008000000000000001','openai','small',11,3,'0.15','0.60','0.000001','0.0000017','0.0000018','USD',0,0.25);
CREATE TABLE thoughts (
	message_id BLOB NOT NULL, 
	position INTEGER NOT NULL, 
	workspace_id BLOB NOT NULL, 
	id BLOB NOT NULL, 
	created_at BIGINT NOT NULL, 
	text TEXT NOT NULL, 
	calls TEXT NOT NULL, 
	labels TEXT NOT NULL, 
	files TEXT NOT NULL, 
	CONSTRAINT pk_thoughts PRIMARY KEY (message_id, position), 
	CONSTRAINT fk_thoughts_workspace_id FOREIGN KEY(workspace_id) REFERENCES workspaces (id), 
	CONSTRAINT fk_thoughts_message_id FOREIGN KEY(message_id) REFERENCES messages (id)
);
INSERT INTO "thoughts" VALUES(X'000000000000000000000000000003F2',1,X'00000000000070008000000000000001',X'00000000000000000000000000000005',1793534400000000,'Let me see…','[{"id":"call_1","tool":"clock","arguments":"{\"zone\": \"UTC\"}","observation":"12:00 \u0000"},{"id":"call_2","tool":"x","arguments":"{","observation":null}]','{"clock":{"en_US":"Clock","zh_Hans":"时钟"}}','["00000000-0000-0000-0000-000000000006"]');
INSERT INTO "thoughts" VALUES(X'000000000000000000000000000003F2',2,X'00000000000070008000000000000001',X'00000000000000000000000000000007',1793534400000000,'It is noon.','[]','{}','[]');
CREATE TABLE upload_files (
	id BLOB NOT NULL, 
	workspace_id BLOB NOT NULL, 
	app_id BLOB NOT NULL, 
	user_id BLOB NOT NULL, 
	name TEXT NOT NULL, 
	size BIGINT NOT NULL, 
	extension TEXT NOT NULL, 
	mime_type TEXT NOT NULL, 
	type TEXT NOT NULL, 
	"key" TEXT NOT NULL, 
	origin TEXT NOT NULL, 
	source_url TEXT, 
	created_at BIGINT NOT NULL, 
	used_at BIGINT, 
	CONSTRAINT pk_upload_files PRIMARY KEY (id), 
	CONSTRAINT uq_upload_files_key UNIQUE ("key"), 
	CONSTRAINT fk_upload_files_workspace_id FOREIGN KEY(workspace_id) REFERENCES workspaces (id), 
	CONSTRAINT fk_upload_files_app_id FOREIGN KEY(app_id) REFERENCES apps (id), 
	CONSTRAINT fk_upload_files_user_id FOREIGN KEY(user_id) REFERENCES end_users (id)
);
INSERT INTO "upload_files" VALUES(X'00000000000000000000000000000403',X'00000000000070008000000000000001',X'00000000000000000000000000000001',X'00000000000000000000000000000402','猫.png',1099511627776,'png','image/png','image','app/file.png','remote','https://example.org/cat.png',1793536080000000,1793536260000000);
CREATE TABLE workspaces (
	id BLOB NOT NULL, 
	name TEXT NOT NULL, 
	CONSTRAINT pk_workspaces PRIMARY KEY (id)
);
INSERT INTO "workspaces" VALUES(X'00000000000070008000000000000001','Default');
CREATE INDEX ix_conversations_live_created_at ON conversations (app_id, user_id, created_at, id) WHERE deleted_at IS NULL;
CREATE INDEX ix_conversations_live_updated_at ON conversations (app_id, user_id, updated_at, id) WHERE deleted_at IS NULL;
CREATE INDEX ix_conversations_deleted ON conversations (deleted_at) WHERE deleted_at IS NOT NULL;
CREATE INDEX ix_messages_running ON messages (owner) WHERE outcome = 'running';
CREATE INDEX ix_upload_files_unused ON upload_files (created_at) WHERE used_at IS NULL;
CREATE INDEX ix_message_files_file_id ON message_files (file_id);
COMMIT;
