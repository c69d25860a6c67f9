CREATE TABLE public.alembic_version (
    version_num character varying(32) NOT NULL
);
CREATE TABLE public.api_keys (
    id uuid NOT NULL,
    workspace_id uuid NOT NULL,
    app_id uuid NOT NULL,
    digest bytea NOT NULL,
    prefix text NOT NULL,
    created_at bigint NOT NULL,
    revoked_at bigint
);
CREATE TABLE public.app_configs (
    id uuid NOT NULL,
    workspace_id uuid NOT NULL,
    app_id uuid NOT NULL,
    version integer NOT NULL,
    config text NOT NULL,
    source text NOT NULL,
    created_at bigint NOT NULL
);
CREATE TABLE public.apps (
    id uuid NOT NULL,
    workspace_id uuid NOT NULL,
    name text NOT NULL,
    mode text NOT NULL,
    site text NOT NULL,
    api_enabled boolean NOT NULL,
    config_id uuid NOT NULL,
    created_at bigint NOT NULL,
    updated_at bigint NOT NULL,
    deleted_at bigint
);
CREATE TABLE public.conversations (
    id uuid NOT NULL,
    workspace_id uuid NOT NULL,
    app_id uuid NOT NULL,
    user_id uuid NOT NULL,
    config_id uuid NOT NULL,
    name text NOT NULL,
    inputs text NOT NULL,
    introduction text NOT NULL,
    pinned boolean NOT NULL,
    created_at bigint NOT NULL,
    updated_at bigint NOT NULL,
    deleted_at bigint
);
CREATE TABLE public.end_users (
    id uuid NOT NULL,
    workspace_id uuid NOT NULL,
    app_id uuid NOT NULL,
    source text NOT NULL,
    name text NOT NULL,
    created_at bigint NOT NULL
);
CREATE TABLE public.feedback (
    id uuid NOT NULL,
    workspace_id uuid NOT NULL,
    app_id uuid NOT NULL,
    user_id uuid NOT NULL,
    message_id uuid NOT NULL,
    source text NOT NULL,
    rating text NOT NULL,
    content text,
    created_at bigint NOT NULL,
    updated_at bigint NOT NULL
);
CREATE TABLE public.message_files (
    id uuid NOT NULL,
    workspace_id uuid NOT NULL,
    message_id uuid NOT NULL,
    file_id uuid NOT NULL,
    "position" integer NOT NULL,
    belongs_to text NOT NULL,
    method text NOT NULL,
    url text
);
CREATE TABLE public.messages (
    id uuid NOT NULL,
    workspace_id uuid NOT NULL,
    app_id uuid NOT NULL,
    user_id uuid NOT NULL,
    conversation_id uuid NOT NULL,
    config_id uuid NOT NULL,
    key_id uuid,
    parent_id uuid,
    "position" integer NOT NULL,
    inputs text NOT NULL,
    query text NOT NULL,
    answer text NOT NULL,
    reasoning text NOT NULL,
    outcome text NOT NULL,
    error_code text,
    error text,
    owner uuid NOT NULL,
    heartbeat_at bigint NOT NULL,
    created_at bigint NOT NULL,
    finished_at bigint,
    file_count integer DEFAULT 0 NOT NULL,
    thought_count integer DEFAULT 0 NOT NULL
);
CREATE TABLE public.rounds (
    message_id uuid NOT NULL,
    "position" integer NOT NULL,
    workspace_id uuid NOT NULL,
    provider text NOT NULL,
    model text NOT NULL,
    prompt_tokens integer NOT NULL,
    completion_tokens integer NOT NULL,
    prompt_unit_price numeric,
    completion_unit_price numeric,
    price_unit numeric,
    prompt_price numeric NOT NULL,
    completion_price numeric NOT NULL,
    currency text,
    estimated boolean NOT NULL,
    latency double precision NOT NULL
);
CREATE TABLE public.thoughts (
    message_id uuid NOT NULL,
    "position" integer NOT NULL,
    workspace_id uuid NOT NULL,
    id uuid NOT NULL,
    created_at bigint NOT NULL,
    text text NOT NULL,
    calls text NOT NULL,
    labels text NOT NULL,
    files text NOT NULL
);
CREATE TABLE public.upload_files (
    id uuid NOT NULL,
    workspace_id uuid NOT NULL,
    app_id uuid NOT NULL,
    user_id uuid NOT NULL,
    name text NOT NULL,
    size bigint NOT NULL,
    extension text NOT NULL,
    mime_type text NOT NULL,
    type text NOT NULL,
    key text NOT NULL,
    origin text NOT NULL,
    source_url text,
    created_at bigint NOT NULL,
    used_at bigint
);
CREATE TABLE public.workspaces (
    id uuid NOT NULL,
    name text NOT NULL
);
INSERT INTO public.alembic_version VALUES ('0003');
INSERT INTO public.api_keys VALUES ('00000000-0000-0000-0000-0000000003f0', '00000000-0000-7000-8000-000000000001', '00000000-0000-0000-0000-000000000001', '\x00ff00ff00ff00ff00ff00ff00ff00ff00ff00ff00ff00ff00ff00ff00ff00ff', 'app-abcd', 1793534820000000, NULL);
INSERT INTO public.app_configs VALUES ('00000000-0000-0000-0000-0000000003eb', '00000000-0000-7000-8000-000000000001', '00000000-0000-0000-0000-000000000001', 1, '{"model":{"provider":"scripted","name":"m","mode":"chat","params":{},"stop":[]},"prompt_type":"simple","pre_prompt":"Be kind.","chat_prompt":[],"completion_prompt":"","user_prefix":"Human","assistant_prefix":"Assistant","form":[],"raw_form":[],"opening_statement":null,"suggested_questions":[],"suggestions_enabled":false,"citations_enabled":true,"more_like_this_enabled":false,"blocking":true,"leaving":"finish","reasoning":"answer","max_active_requests":0,"files":{"enabled":false,"types":["image"],"extensions":[],"methods":["remote_url","local_file"],"most":3,"detail":"high"},"agent":null,"origins":[]}', 'file', 1793534460000000);
INSERT INTO public.app_configs VALUES ('00000000-0000-0000-0000-0000000003ee', '00000000-0000-7000-8000-000000000001', '00000000-0000-0000-0000-000000000001', 2, '{"model":{"provider":"scripted","name":"m","mode":"chat","params":{},"stop":[]},"prompt_type":"simple","pre_prompt":"Be brief.","chat_prompt":[],"completion_prompt":"","user_prefix":"Human","assistant_prefix":"Assistant","form":[],"raw_form":[],"opening_statement":null,"suggested_questions":[],"suggestions_enabled":false,"citations_enabled":true,"more_like_this_enabled":false,"blocking":true,"leaving":"finish","reasoning":"answer","max_active_requests":0,"files":{"enabled":false,"types":["image"],"extensions":[],"methods":["remote_url","local_file"],"most":3,"detail":"high"},"agent":null,"origins":[]}', 'file', 1793534640000000);
INSERT INTO public.app_configs VALUES ('00000000-0000-0000-0000-00000000040a', '00000000-0000-7000-8000-000000000001', '00000000-0000-0000-0000-000000000002', 1, '{"model":{"provider":"scripted","name":"m","mode":"chat","params":{},"stop":[]},"prompt_type":"simple","pre_prompt":"","chat_prompt":[],"completion_prompt":"","user_prefix":"Human","assistant_prefix":"Assistant","form":[],"raw_form":[],"opening_statement":null,"suggested_questions":[],"suggestions_enabled":false,"citations_enabled":true,"more_like_this_enabled":false,"blocking":true,"leaving":"finish","reasoning":"answer","max_active_requests":0,"files":{"enabled":false,"types":["image"],"extensions":[],"methods":["remote_url","local_file"],"most":3,"detail":"high"},"agent":null,"origins":[]}', 'file', 1793536320000000);
INSERT INTO public.apps VALUES ('00000000-0000-0000-0000-000000000001', '00000000-0000-7000-8000-000000000001', 'Helper', 'chat', '{"title":"Helper","description":"","icon":"🤖","icon_background":"#FFEAD5","icon_type":"emoji","default_language":"en-US","copyright":"","privacy_policy":"","custom_disclaimer":"","chat_color_theme":"","chat_color_theme_inverted":false,"use_icon_as_answer_icon":false}', true, '00000000-0000-0000-0000-0000000003ee', 1793534460000000, 1793534640000000, NULL);
INSERT INTO public.apps VALUES ('00000000-0000-0000-0000-000000000002', '00000000-0000-7000-8000-000000000001', 'Gone', 'chat', '{"title":"Gone","description":"","icon":"🤖","icon_background":"#FFEAD5","icon_type":"emoji","default_language":"en-US","copyright":"","privacy_policy":"","custom_disclaimer":"","chat_color_theme":"","chat_color_theme_inverted":false,"use_icon_as_answer_icon":false}', true, '00000000-0000-0000-0000-00000000040a', 1793536320000000, 1793536500000000, 1793536500000000);
INSERT INTO public.conversations VALUES ('00000000-0000-0000-0000-000000000003', '00000000-0000-7000-8000-000000000001', '00000000-0000-0000-0000-000000000001', '00000000-0000-0000-0000-0000000003f1', '00000000-0000-0000-0000-0000000003ee', 'New conversation', '{"大": 1606938044258990275541962092341162602522202993782792835301376, "f": 0.1, "é": "😀", "none": null}', 'Hello.', false, 1793535060000000, 1793535900000000, NULL);
INSERT INTO public.conversations VALUES ('00000000-0000-0000-0000-000000000004', '00000000-0000-7000-8000-000000000001', '00000000-0000-0000-0000-000000000001', '00000000-0000-0000-0000-000000000402', '00000000-0000-0000-0000-0000000003ee', 'New conversation', '{"大": 1606938044258990275541962092341162602522202993782792835301376, "f": 0.1, "é": "😀", "none": null}', 'Hello.', false, 1793536260000000, 1793536260000000, NULL);
INSERT INTO public.end_users VALUES ('00000000-0000-0000-0000-0000000003f1', '00000000-0000-7000-8000-000000000001', '00000000-0000-0000-0000-000000000001', 'api', 'ann', 1793535060000000);
INSERT INTO public.end_users VALUES ('00000000-0000-0000-0000-000000000402', '00000000-0000-7000-8000-000000000001', '00000000-0000-0000-0000-000000000001', 'api', 'bob', 1793536080000000);
INSERT INTO public.feedback VALUES ('00000000-0000-0000-0000-0000000003f6', '00000000-0000-7000-8000-000000000001', '00000000-0000-0000-0000-000000000001', '00000000-0000-0000-0000-0000000003f1', '00000000-0000-0000-0000-0000000003f2', 'api', 'like', 'good', 1793535180000000, 1793535180000000);
INSERT INTO public.message_files VALUES ('00000000-0000-0000-0000-000000000405', '00000000-0000-7000-8000-000000000001', '00000000-0000-0000-0000-000000000406', '00000000-0000-0000-0000-000000000403', 1, 'user', 'remote_url', 'https://example.org/cat.png');
INSERT INTO public.messages VALUES ('00000000-0000-0000-0000-0000000003f2', '00000000-0000-7000-8000-000000000001', '00000000-0000-0000-0000-000000000001', '00000000-0000-0000-0000-0000000003f1', '00000000-0000-0000-0000-000000000003', '00000000-0000-0000-0000-0000000003ee', NULL, NULL, 1, '{"大": 1606938044258990275541962092341162602522202993782792835301376, "f": 0.1, "é": "😀", "none": null}', 'why?', 'He said: "你好"
	  😀 \u0000', 'hm', 'normal', NULL, NULL, '00000000-0000-0000-0000-000000000007', 1795761829162009, 1793535060000000, 1793535120000000, 0, 2);
INSERT INTO public.messages VALUES ('00000000-0000-0000-0000-0000000003f7', '00000000-0000-7000-8000-000000000001', '00000000-0000-0000-0000-000000000001', '00000000-0000-0000-0000-0000000003f1', '00000000-0000-0000-0000-000000000003', '00000000-0000-0000-0000-0000000003ee', NULL, '00000000-0000-0000-0000-0000000003f2', 2, '{"大": 1606938044258990275541962092341162602522202993782792835301376, "f": 0.1, "é": "😀", "none": null}', 'stopped', 'half', '', 'stopped', NULL, NULL, '00000000-0000-0000-0000-000000000007', 1795761829187419, 1793535360000000, 1793535420000000, 0, 0);
INSERT INTO public.messages VALUES ('00000000-0000-0000-0000-0000000003fa', '00000000-0000-7000-8000-000000000001', '00000000-0000-0000-0000-000000000001', '00000000-0000-0000-0000-0000000003f1', '00000000-0000-0000-0000-000000000003', '00000000-0000-0000-0000-0000000003ee', NULL, '00000000-0000-0000-0000-0000000003f7', 3, '{"大": 1606938044258990275541962092341162602522202993782792835301376, "f": 0.1, "é": "😀", "none": null}', 'error', 'half', '', 'error', 'completion_request_error', 'Why.', '00000000-0000-0000-0000-000000000007', 1795761829192901, 1793535540000000, 1793535600000000, 0, 0);
INSERT INTO public.messages VALUES ('00000000-0000-0000-0000-0000000003fd', '00000000-0000-7000-8000-000000000001', '00000000-0000-0000-0000-000000000001', '00000000-0000-0000-0000-0000000003f1', '00000000-0000-0000-0000-000000000003', '00000000-0000-0000-0000-0000000003ee', NULL, '00000000-0000-0000-0000-0000000003fa', 4, '{"大": 1606938044258990275541962092341162602522202993782792835301376, "f": 0.1, "é": "😀", "none": null}', 'interrupted', 'half', '', 'interrupted', 'completion_request_error', 'Why.', '00000000-0000-0000-0000-000000000007', 1795761829196918, 1793535720000000, 1793535780000000, 0, 0);
INSERT INTO public.messages VALUES ('00000000-0000-0000-0000-000000000400', '00000000-0000-7000-8000-000000000001', '00000000-0000-0000-0000-000000000001', '00000000-0000-0000-0000-0000000003f1', '00000000-0000-0000-0000-000000000003', '00000000-0000-0000-0000-0000000003ee', NULL, '00000000-0000-0000-0000-0000000003fd', 5, '{"大": 1606938044258990275541962092341162602522202993782792835301376, "f": 0.1, "é": "😀", "none": null}', 'running', 'half', '', 'running', NULL, NULL, '00000000-0000-0000-0000-000000000007', 1795761829200966, 1793535900000000, NULL, 0, 0);
INSERT INTO public.messages VALUES ('00000000-0000-0000-0000-000000000406', '00000000-0000-7000-8000-000000000001', '00000000-0000-0000-0000-000000000001', '00000000-0000-0000-0000-000000000402', '00000000-0000-0000-0000-000000000004', '00000000-0000-0000-0000-0000000003ee', NULL, NULL, 1, '{"大": 1606938044258990275541962092341162602522202993782792835301376, "f": 0.1, "é": "😀", "none": null}', 'why?', '', '', 'running', NULL, NULL, '00000000-0000-0000-0000-000000000007', 1795761829205662, 1793536260000000, NULL, 1, 0);
INSERT INTO public.rounds VALUES ('00000000-0000-0000-0000-0000000003f2', 1, '00000000-0000-7000-8000-000000000001', 'openai', 'small', 11, 3, 0.15, 0.60, 0.000001, 0.0000017, 0.0000018, 'USD', false, 0.25);
INSERT INTO public.rounds VALUES ('00000000-0000-0000-0000-0000000003f2', 2, '00000000-0000-7000-8000-000000000001', 'openai', 'small', 11, 3, 0.15, 0.60, 0.000001, 0.0000017, 0.0000018, 'USD', false, 0.25);
INSERT INTO public.thoughts VALUES ('00000000-0000-0000-0000-0000000003f2', 1, '00000000-0000-7000-8000-000000000001', '00000000-0000-0000-0000-000000000005', 1793534400000000, 'Let me see…', '[{"id":"call_1","tool":"clock","arguments":"{\"zone\": \"UTC\"}","observation":"12:00 \u0000"},{"id":"call_2","tool":"x","arguments":"{","observation":null}]', '{"clock":{"en_US":"Clock","zh_Hans":"时钟"}}', '["00000000-0000-0000-0000-000000000006"]');
INSERT INTO public.thoughts VALUES ('00000000-0000-0000-0000-0000000003f2', 2, '00000000-0000-7000-8000-000000000001', '00000000-0000-0000-0000-000000000007', 1793534400000000, 'It is noon.', '[]', '{}', '[]');
INSERT INTO public.upload_files VALUES ('00000000-0000-0000-0000-000000000403', '00000000-0000-7000-8000-000000000001', '00000000-0000-0000-0000-000000000001', '00000000-0000-0000-0000-000000000402', '猫.png', 1099511627776, 'png', 'image/png', 'image', 'app/file.png', 'remote', 'https://example.org/cat.png', 1793536080000000, 1793536260000000);
INSERT INTO public.workspaces VALUES ('00000000-0000-7000-8000-000000000001', 'Default');
ALTER TABLE ONLY public.alembic_version
    ADD CONSTRAINT alembic_version_pkc PRIMARY KEY (version_num);
ALTER TABLE ONLY public.api_keys
    ADD CONSTRAINT pk_api_keys PRIMARY KEY (id);
ALTER TABLE ONLY public.app_configs
    ADD CONSTRAINT pk_app_configs PRIMARY KEY (id);
ALTER TABLE ONLY public.apps
    ADD CONSTRAINT pk_apps PRIMARY KEY (id);
ALTER TABLE ONLY public.conversations
    ADD CONSTRAINT pk_conversations PRIMARY KEY (id);
ALTER TABLE ONLY public.end_users
    ADD CONSTRAINT pk_end_users PRIMARY KEY (id);
ALTER TABLE ONLY public.feedback
    ADD CONSTRAINT pk_feedback PRIMARY KEY (id);
ALTER TABLE ONLY public.message_files
    ADD CONSTRAINT pk_message_files PRIMARY KEY (id);
ALTER TABLE ONLY public.messages
    ADD CONSTRAINT pk_messages PRIMARY KEY (id);
ALTER TABLE ONLY public.rounds
    ADD CONSTRAINT pk_rounds PRIMARY KEY (message_id, "position");
ALTER TABLE ONLY public.thoughts
    ADD CONSTRAINT pk_thoughts PRIMARY KEY (message_id, "position");
ALTER TABLE ONLY public.upload_files
    ADD CONSTRAINT pk_upload_files PRIMARY KEY (id);
ALTER TABLE ONLY public.workspaces
    ADD CONSTRAINT pk_workspaces PRIMARY KEY (id);
ALTER TABLE ONLY public.api_keys
    ADD CONSTRAINT uq_api_keys_digest UNIQUE (digest);
ALTER TABLE ONLY public.app_configs
    ADD CONSTRAINT uq_app_configs_app_id_version UNIQUE (app_id, version);
ALTER TABLE ONLY public.end_users
    ADD CONSTRAINT uq_end_users_app_id_source_name_workspace_id UNIQUE (app_id, source, name, workspace_id);
ALTER TABLE ONLY public.feedback
    ADD CONSTRAINT uq_feedback_message_id_source UNIQUE (message_id, source);
ALTER TABLE ONLY public.message_files
    ADD CONSTRAINT uq_message_files_message_id_position UNIQUE (message_id, "position");
ALTER TABLE ONLY public.messages
    ADD CONSTRAINT uq_messages_conversation_id_position UNIQUE (conversation_id, "position");
ALTER TABLE ONLY public.upload_files
    ADD CONSTRAINT uq_upload_files_key UNIQUE (key);
CREATE INDEX ix_conversations_deleted ON public.conversations USING btree (deleted_at) WHERE (deleted_at IS NOT NULL);
CREATE INDEX ix_conversations_live_created_at ON public.conversations USING btree (app_id, user_id, created_at, id) WHERE (deleted_at IS NULL);
CREATE INDEX ix_conversations_live_updated_at ON public.conversations USING btree (app_id, user_id, updated_at, id) WHERE (deleted_at IS NULL);
CREATE INDEX ix_message_files_file_id ON public.message_files USING btree (file_id);
CREATE INDEX ix_messages_running ON public.messages USING btree (owner) WHERE (outcome = 'running'::text);
CREATE INDEX ix_upload_files_unused ON public.upload_files USING btree (created_at) WHERE (used_at IS NULL);
ALTER TABLE ONLY public.api_keys
    ADD CONSTRAINT fk_api_keys_app_id FOREIGN KEY (app_id) REFERENCES public.apps(id);
ALTER TABLE ONLY public.api_keys
    ADD CONSTRAINT fk_api_keys_workspace_id FOREIGN KEY (workspace_id) REFERENCES public.workspaces(id);
ALTER TABLE ONLY public.app_configs
    ADD CONSTRAINT fk_app_configs_app_id FOREIGN KEY (app_id) REFERENCES public.apps(id);
ALTER TABLE ONLY public.app_configs
    ADD CONSTRAINT fk_app_configs_workspace_id FOREIGN KEY (workspace_id) REFERENCES public.workspaces(id);
ALTER TABLE ONLY public.apps
    ADD CONSTRAINT fk_apps_workspace_id FOREIGN KEY (workspace_id) REFERENCES public.workspaces(id);
ALTER TABLE ONLY public.conversations
    ADD CONSTRAINT fk_conversations_app_id FOREIGN KEY (app_id) REFERENCES public.apps(id);
ALTER TABLE ONLY public.conversations
    ADD CONSTRAINT fk_conversations_config_id FOREIGN KEY (config_id) REFERENCES public.app_configs(id);
ALTER TABLE ONLY public.conversations
    ADD CONSTRAINT fk_conversations_user_id FOREIGN KEY (user_id) REFERENCES public.end_users(id);
ALTER TABLE ONLY public.conversations
    ADD CONSTRAINT fk_conversations_workspace_id FOREIGN KEY (workspace_id) REFERENCES public.workspaces(id);
ALTER TABLE ONLY public.end_users
    ADD CONSTRAINT fk_end_users_app_id FOREIGN KEY (app_id) REFERENCES public.apps(id);
ALTER TABLE ONLY public.end_users
    ADD CONSTRAINT fk_end_users_workspace_id FOREIGN KEY (workspace_id) REFERENCES public.workspaces(id);
ALTER TABLE ONLY public.feedback
    ADD CONSTRAINT fk_feedback_app_id FOREIGN KEY (app_id) REFERENCES public.apps(id);
ALTER TABLE ONLY public.feedback
    ADD CONSTRAINT fk_feedback_message_id FOREIGN KEY (message_id) REFERENCES public.messages(id);
ALTER TABLE ONLY public.feedback
    ADD CONSTRAINT fk_feedback_user_id FOREIGN KEY (user_id) REFERENCES public.end_users(id);
ALTER TABLE ONLY public.feedback
    ADD CONSTRAINT fk_feedback_workspace_id FOREIGN KEY (workspace_id) REFERENCES public.workspaces(id);
ALTER TABLE ONLY public.message_files
    ADD CONSTRAINT fk_message_files_file_id FOREIGN KEY (file_id) REFERENCES public.upload_files(id);
ALTER TABLE ONLY public.message_files
    ADD CONSTRAINT fk_message_files_message_id FOREIGN KEY (message_id) REFERENCES public.messages(id);
ALTER TABLE ONLY public.message_files
    ADD CONSTRAINT fk_message_files_workspace_id FOREIGN KEY (workspace_id) REFERENCES public.workspaces(id);
ALTER TABLE ONLY public.messages
    ADD CONSTRAINT fk_messages_app_id FOREIGN KEY (app_id) REFERENCES public.apps(id);
ALTER TABLE ONLY public.messages
    ADD CONSTRAINT fk_messages_config_id FOREIGN KEY (config_id) REFERENCES public.app_configs(id);
ALTER TABLE ONLY public.messages
    ADD CONSTRAINT fk_messages_conversation_id FOREIGN KEY (conversation_id) REFERENCES public.conversations(id);
ALTER TABLE ONLY public.messages
    ADD CONSTRAINT fk_messages_key_id FOREIGN KEY (key_id) REFERENCES public.api_keys(id);
ALTER TABLE ONLY public.messages
    ADD CONSTRAINT fk_messages_user_id FOREIGN KEY (user_id) REFERENCES public.end_users(id);
ALTER TABLE ONLY public.messages
    ADD CONSTRAINT fk_messages_workspace_id FOREIGN KEY (workspace_id) REFERENCES public.workspaces(id);
ALTER TABLE ONLY public.rounds
    ADD CONSTRAINT fk_rounds_message_id FOREIGN KEY (message_id) REFERENCES public.messages(id);
ALTER TABLE ONLY public.rounds
    ADD CONSTRAINT fk_rounds_workspace_id FOREIGN KEY (workspace_id) REFERENCES public.workspaces(id);
ALTER TABLE ONLY public.thoughts
    ADD CONSTRAINT fk_thoughts_message_id FOREIGN KEY (message_id) REFERENCES public.messages(id);
ALTER TABLE ONLY public.thoughts
    ADD CONSTRAINT fk_thoughts_workspace_id FOREIGN KEY (workspace_id) REFERENCES public.workspaces(id);
ALTER TABLE ONLY public.upload_files
    ADD CONSTRAINT fk_upload_files_app_id FOREIGN KEY (app_id) REFERENCES public.apps(id);
ALTER TABLE ONLY public.upload_files
    ADD CONSTRAINT fk_upload_files_user_id FOREIGN KEY (user_id) REFERENCES public.end_users(id);
ALTER TABLE ONLY public.upload_files
    ADD CONSTRAINT fk_upload_files_workspace_id FOREIGN KEY (workspace_id) REFERENCES public.workspaces(id);
