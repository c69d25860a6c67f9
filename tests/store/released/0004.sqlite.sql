BEGIN TRANSACTION;
CREATE TABLE alembic_version (
	version_num VARCHAR(32) NOT NULL, 
	CONSTRAINT alembic_version_pkc PRIMARY KEY (version_num)
);
INSERT INTO "alembic_version" VALUES('0004');
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
INSERT INTO "app_configs" VALUES(X'000000000000000000000000000003EB',X'00000000000070008000000000000001',X'00000000000000000000000000000001',1,'{"model":{"provider":"scripted","name":"m","mode":"chat","params":{},"stop":[]},"prompt_type":"simple","pre_prompt":"Be kind.","chat_prompt":[],"completion_prompt":"","user_prefix":"Human","assistant_prefix":"Assistant","form":[],"raw_form":[],"opening_statement":null,"suggested_questions":[],"suggestions_enabled":false,"citations_enabled":true,"more_like_this_enabled":false,"blocking":true,"leaving":"finish","reasoning":"answer","max_active_requests":0,"files":{"enabled":false,"types":["image"],"extensions":[],"methods":["remote_url","local_file"],"most":3,"detail":"high"},"agent":null,"speech_to_text":false,"speech":null,"moderation":null,"external_data_tools":[],"knowledge":null,"origins":[]}','file',1793534460000000);
INSERT INTO "app_configs" VALUES(X'000000000000000000000000000003EE',X'00000000000070008000000000000001',X'00000000000000000000000000000001',2,'{"model":{"provider":"scripted","name":"m","mode":"chat","params":{},"stop":[]},"prompt_type":"simple","pre_prompt":"Be brief.","chat_prompt":[],"completion_prompt":"","user_prefix":"Human","assistant_prefix":"Assistant","form":[],"raw_form":[],"opening_statement":null,"suggested_questions":[],"suggestions_enabled":false,"citations_enabled":true,"more_like_this_enabled":false,"blocking":true,"leaving":"finish","reasoning":"answer","max_active_requests":0,"files":{"enabled":false,"types":["image"],"extensions":[],"methods":["remote_url","local_file"],"most":3,"detail":"high"},"agent":null,"speech_to_text":false,"speech":null,"moderation":null,"external_data_tools":[],"knowledge":null,"origins":[]}','file',1793534640000000);
INSERT INTO "app_configs" VALUES(X'0000000000000000000000000000040A',X'00000000000070008000000000000001',X'00000000000000000000000000000002',1,'{"model":{"provider":"scripted","name":"m","mode":"chat","params":{},"stop":[]},"prompt_type":"simple","pre_prompt":"","chat_prompt":[],"completion_prompt":"","user_prefix":"Human","assistant_prefix":"Assistant","form":[],"raw_form":[],"opening_statement":null,"suggested_questions":[],"suggestions_enabled":false,"citations_enabled":true,"more_like_this_enabled":false,"blocking":true,"leaving":"finish","reasoning":"answer","max_active_requests":0,"files":{"enabled":false,"types":["image"],"extensions":[],"methods":["remote_url","local_file"],"most":3,"detail":"high"},"agent":null,"speech_to_text":false,"speech":null,"moderation":null,"external_data_tools":[],"knowledge":null,"origins":[]}','file',1793536320000000);
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
CREATE TABLE citations (
	message_id BLOB NOT NULL, 
	position INTEGER NOT NULL, 
	workspace_id BLOB NOT NULL, 
	id BLOB NOT NULL, 
	created_at BIGINT NOT NULL, 
	passage TEXT NOT NULL, 
	CONSTRAINT pk_citations PRIMARY KEY (message_id, position), 
	CONSTRAINT fk_citations_message_id FOREIGN KEY(message_id) REFERENCES messages (id), 
	CONSTRAINT fk_citations_workspace_id FOREIGN KEY(workspace_id) REFERENCES workspaces (id)
);
INSERT INTO "citations" VALUES(X'00000000000000000000000000000406',1,X'00000000000070008000000000000001',X'0000000000000000000000000000040C',1793536620000000,'{"content": "说"}');
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
CREATE TABLE documents (
	id BLOB NOT NULL, 
	workspace_id BLOB NOT NULL, 
	base_id BLOB NOT NULL, 
	position INTEGER NOT NULL, 
	name TEXT NOT NULL, 
	source TEXT NOT NULL, 
	origin TEXT, 
	digest BLOB NOT NULL, 
	"key" TEXT NOT NULL, 
	size BIGINT NOT NULL, 
	extension TEXT NOT NULL, 
	mime_type TEXT NOT NULL, 
	rule TEXT NOT NULL, 
	language TEXT NOT NULL, 
	batch TEXT NOT NULL, 
	status TEXT NOT NULL, 
	error TEXT, 
	enabled BOOLEAN NOT NULL, 
	archived BOOLEAN NOT NULL, 
	generation INTEGER DEFAULT '0' NOT NULL, 
	tokens INTEGER DEFAULT '0' NOT NULL, 
	words INTEGER DEFAULT '0' NOT NULL, 
	segment_count INTEGER DEFAULT '0' NOT NULL, 
	segments_done INTEGER DEFAULT '0' NOT NULL, 
	hit_count INTEGER DEFAULT '0' NOT NULL, 
	owner BLOB, 
	heartbeat_at BIGINT, 
	attempts INTEGER DEFAULT '0' NOT NULL, 
	created_at BIGINT NOT NULL, 
	updated_at BIGINT NOT NULL, 
	started_at BIGINT, 
	parsed_at BIGINT, 
	split_at BIGINT, 
	completed_at BIGINT, 
	deleted_at BIGINT, 
	CONSTRAINT pk_documents PRIMARY KEY (id), 
	CONSTRAINT fk_documents_workspace_id FOREIGN KEY(workspace_id) REFERENCES workspaces (id), 
	CONSTRAINT fk_documents_base_id FOREIGN KEY(base_id) REFERENCES knowledge_bases (id)
);
INSERT INTO "documents" VALUES(X'00000000000000000000000000000411',X'00000000000070008000000000000001',X'00000000000000000000000000000005',1,'猫.txt','upload_file','/猫.txt',X'F52EE95675A822B6DA76B8863A6F7170073CE55B5D53F8D800A483548870F46E','knowledge/00000000000000000000000000000005/00000000000000000000000000000411/00000000000000000000000000000412',6442450944,'txt','text/plain','{"mode":"custom","separator":"###","max_tokens":500,"overlap":50,"remove_extra_spaces":true,"remove_urls_emails":false,"form":"text_model"}','English','20260102030405000001','completed',NULL,1,0,1,3,18,2,2,0,NULL,1795788210350994,1,1793536980000000,1793537220000000,1767323045678907,NULL,NULL,1793537220000000,NULL);
INSERT INTO "documents" VALUES(X'00000000000000000000000000000418',X'00000000000070008000000000000001',X'00000000000000000000000000000005',2,'later.txt','upload_file',NULL,X'90370F0525AAF15A21D1422A6DDCE6F34B3A919C7EA01D91CE2027361E208BAF','knowledge/00000000000000000000000000000005/00000000000000000000000000000418/00000000000000000000000000000419',6442450944,'txt','text/plain','{"mode":"custom","separator":"###","max_tokens":500,"overlap":50,"remove_extra_spaces":true,"remove_urls_emails":false,"form":"text_model"}','English','20260102030405000001','waiting',NULL,1,0,0,0,0,0,0,0,NULL,NULL,0,1793537400000000,1793537400000000,NULL,NULL,NULL,NULL,NULL);
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
CREATE TABLE knowledge_bases (
	id BLOB NOT NULL, 
	workspace_id BLOB NOT NULL, 
	name TEXT NOT NULL, 
	description TEXT NOT NULL, 
	permission TEXT NOT NULL, 
	indexing TEXT NOT NULL, 
	embedding_provider TEXT NOT NULL, 
	embedding_model TEXT NOT NULL, 
	dimensions INTEGER, 
	retrieval TEXT NOT NULL, 
	version INTEGER DEFAULT '0' NOT NULL, 
	created_at BIGINT NOT NULL, 
	updated_at BIGINT NOT NULL, 
	deleted_at BIGINT, 
	CONSTRAINT pk_knowledge_bases PRIMARY KEY (id), 
	CONSTRAINT fk_knowledge_bases_workspace_id FOREIGN KEY(workspace_id) REFERENCES workspaces (id)
);
INSERT INTO "knowledge_bases" VALUES(X'00000000000000000000000000000005',X'00000000000070008000000000000001','指南','','only_me','high_quality','openai','small',1,'{"method":"hybrid_search","top_k":4,"score_threshold":null,"fusion":"weighted","vector_weight":0.7,"keyword_weight":0.3,"rerank_model":""}',1,1793536680000000,1793537400000000,NULL);
CREATE TABLE knowledge_keys (
	id BLOB NOT NULL, 
	workspace_id BLOB NOT NULL, 
	digest BLOB NOT NULL, 
	prefix TEXT NOT NULL, 
	created_at BIGINT NOT NULL, 
	revoked_at BIGINT, 
	CONSTRAINT pk_knowledge_keys PRIMARY KEY (id), 
	CONSTRAINT uq_knowledge_keys_digest UNIQUE (digest), 
	CONSTRAINT fk_knowledge_keys_workspace_id FOREIGN KEY(workspace_id) REFERENCES workspaces (id)
);
INSERT INTO "knowledge_keys" VALUES(X'0000000000000000000000000000040F',X'00000000000070008000000000000001',X'00FF00FF00FF00FF00FF00FF00FF00FF00FF00FF00FF00FF00FF00FF00FF00FF','dataset-abcd',1793536800000000,NULL);
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
	finished_at BIGINT, file_count INTEGER DEFAULT '0' NOT NULL, thought_count INTEGER DEFAULT '0' NOT NULL, citation_count INTEGER DEFAULT '0' NOT NULL, 
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
	  😀 \u0000','hm','normal',NULL,NULL,X'00000000000000000000000000000007',1795788210313014,1793535060000000,1793535120000000,0,2,0);
INSERT INTO "messages" VALUES(X'000000000000000000000000000003F7',X'00000000000070008000000000000001',X'00000000000000000000000000000001',X'000000000000000000000000000003F1',X'00000000000000000000000000000003',X'000000000000000000000000000003EE',NULL,X'000000000000000000000000000003F2',2,'{"大": 1606938044258990275541962092341162602522202993782792835301376, "f": 0.1, "é": "😀", "none": null}','stopped','half','','stopped',NULL,NULL,X'00000000000000000000000000000007',1795788210319009,1793535360000000,1793535420000000,0,0,0);
INSERT INTO "messages" VALUES(X'000000000000000000000000000003FA',X'00000000000070008000000000000001',X'00000000000000000000000000000001',X'000000000000000000000000000003F1',X'00000000000000000000000000000003',X'000000000000000000000000000003EE',NULL,X'000000000000000000000000000003F7',3,'{"大": 1606938044258990275541962092341162602522202993782792835301376, "f": 0.1, "é": "😀", "none": null}','error','half','','error','completion_request_error','Why.',X'00000000000000000000000000000007',1795788210320015,1793535540000000,1793535600000000,0,0,0);
INSERT INTO "messages" VALUES(X'000000000000000000000000000003FD',X'00000000000070008000000000000001',X'00000000000000000000000000000001',X'000000000000000000000000000003F1',X'00000000000000000000000000000003',X'000000000000000000000000000003EE',NULL,X'000000000000000000000000000003FA',4,'{"大": 1606938044258990275541962092341162602522202993782792835301376, "f": 0.1, "é": "😀", "none": null}','interrupted','half','','interrupted','completion_request_error','Why.',X'00000000000000000000000000000007',1795788210321986,1793535720000000,1793535780000000,0,0,0);
INSERT INTO "messages" VALUES(X'00000000000000000000000000000400',X'00000000000070008000000000000001',X'00000000000000000000000000000001',X'000000000000000000000000000003F1',X'00000000000000000000000000000003',X'000000000000000000000000000003EE',NULL,X'000000000000000000000000000003FD',5,'{"大": 1606938044258990275541962092341162602522202993782792835301376, "f": 0.1, "é": "😀", "none": null}','running','half','','running',NULL,NULL,X'00000000000000000000000000000007',1795788210322992,1793535900000000,NULL,0,0,0);
INSERT INTO "messages" VALUES(X'00000000000000000000000000000406',X'00000000000070008000000000000001',X'00000000000000000000000000000001',X'00000000000000000000000000000402',X'00000000000000000000000000000004',X'000000000000000000000000000003EE',NULL,NULL,1,'{"大": 1606938044258990275541962092341162602522202993782792835301376, "f": 0.1, "é": "😀", "none": null}','why?','','','running',NULL,NULL,X'00000000000000000000000000000007',1795788210323998,1793536260000000,NULL,1,0,0);
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
CREATE TABLE segments (
	number INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT, 
	id BLOB NOT NULL, 
	workspace_id BLOB NOT NULL, 
	base_id BLOB NOT NULL, 
	document_id BLOB NOT NULL, 
	generation INTEGER NOT NULL, 
	position INTEGER NOT NULL, 
	content TEXT NOT NULL, 
	answer TEXT NOT NULL, 
	keywords TEXT NOT NULL, 
	terms TEXT NOT NULL, 
	tokens INTEGER NOT NULL, 
	words INTEGER NOT NULL, 
	digest BLOB NOT NULL, 
	enabled BOOLEAN NOT NULL, 
	hit_count INTEGER DEFAULT '0' NOT NULL, 
	embedding BLOB, 
	created_at BIGINT NOT NULL, 
	updated_at BIGINT NOT NULL, 
	CONSTRAINT uq_segments_id UNIQUE (id), 
	CONSTRAINT fk_segments_workspace_id FOREIGN KEY(workspace_id) REFERENCES workspaces (id), 
	CONSTRAINT fk_segments_base_id FOREIGN KEY(base_id) REFERENCES knowledge_bases (id), 
	CONSTRAINT fk_segments_document_id FOREIGN KEY(document_id) REFERENCES documents (id)
);
INSERT INTO "segments" VALUES(1,X'00000000000000000000000000000414',X'00000000000070008000000000000001',X'00000000000000000000000000000005',X'00000000000000000000000000000411',1,1,'猫は魚が好き。','','["one","二"]','猫は は魚 魚が が好 好き き',1,7,X'0FEFA4CA3CF878E48A71DB82ED99D3FC6D6584785FF2D14DC55608AE61EBA84D',1,0,X'003C',1793537160000000,1793537160000000);
INSERT INTO "segments" VALUES(2,X'00000000000000000000000000000415',X'00000000000070008000000000000001',X'00000000000000000000000000000005',X'00000000000000000000000000000411',1,2,'Dogs don''t.','He said: "你好"
	  😀 \u0000','["one","二"]','dogs don t',2,11,X'7399C61AE31359FF329FFC1E4FE31DA5963C674FAC77DFAE159BD6405938DE09',1,0,NULL,1793537160000000,1793537160000000);
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
CREATE UNIQUE INDEX ux_knowledge_bases_name ON knowledge_bases (workspace_id, name) WHERE deleted_at IS NULL;
CREATE INDEX ix_documents_base_id ON documents (base_id, position);
CREATE INDEX ix_documents_origin ON documents (base_id, origin);
CREATE INDEX ix_documents_batch ON documents (base_id, batch);
CREATE INDEX ix_documents_key ON documents ("key");
CREATE INDEX ix_documents_unfinished ON documents (created_at) WHERE status IN ('waiting', 'parsing', 'splitting', 'indexing');
CREATE INDEX ix_segments_document_id ON segments (document_id, generation, position);
CREATE INDEX ix_segments_base_id ON segments (base_id, number, document_id, generation, enabled, updated_at, words);
DELETE FROM "sqlite_sequence";
INSERT INTO "sqlite_sequence" VALUES('segments',2);
COMMIT;
