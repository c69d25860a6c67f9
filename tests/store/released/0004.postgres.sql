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
CREATE TABLE public.citations (
    message_id uuid NOT NULL,
    "position" integer NOT NULL,
    workspace_id uuid NOT NULL,
    id uuid NOT NULL,
    created_at bigint NOT NULL,
    passage text NOT NULL
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
CREATE TABLE public.documents (
    id uuid NOT NULL,
    workspace_id uuid NOT NULL,
    base_id uuid NOT NULL,
    "position" integer NOT NULL,
    name text NOT NULL,
    source text NOT NULL,
    origin text,
    digest bytea NOT NULL,
    key text NOT NULL,
    size bigint NOT NULL,
    extension text NOT NULL,
    mime_type text NOT NULL,
    rule text NOT NULL,
    language text NOT NULL,
    batch text NOT NULL,
    status text NOT NULL,
    error text,
    enabled boolean NOT NULL,
    archived boolean NOT NULL,
    generation integer DEFAULT 0 NOT NULL,
    tokens integer DEFAULT 0 NOT NULL,
    words integer DEFAULT 0 NOT NULL,
    segment_count integer DEFAULT 0 NOT NULL,
    segments_done integer DEFAULT 0 NOT NULL,
    hit_count integer DEFAULT 0 NOT NULL,
    owner uuid,
    heartbeat_at bigint,
    attempts integer DEFAULT 0 NOT NULL,
    created_at bigint NOT NULL,
    updated_at bigint NOT NULL,
    started_at bigint,
    parsed_at bigint,
    split_at bigint,
    completed_at bigint,
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
CREATE TABLE public.knowledge_bases (
    id uuid NOT NULL,
    workspace_id uuid NOT NULL,
    name text NOT NULL,
    description text NOT NULL,
    permission text NOT NULL,
    indexing text NOT NULL,
    embedding_provider text NOT NULL,
    embedding_model text NOT NULL,
    dimensions integer,
    retrieval text NOT NULL,
    version integer DEFAULT 0 NOT NULL,
    created_at bigint NOT NULL,
    updated_at bigint NOT NULL,
    deleted_at bigint
);
CREATE TABLE public.knowledge_keys (
    id uuid NOT NULL,
    workspace_id uuid NOT NULL,
    digest bytea NOT NULL,
    prefix text NOT NULL,
    created_at bigint NOT NULL,
    revoked_at bigint
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
    thought_count integer DEFAULT 0 NOT NULL,
    citation_count integer DEFAULT 0 NOT NULL
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
CREATE TABLE public.segments (
    number bigint NOT NULL,
    id uuid NOT NULL,
    workspace_id uuid NOT NULL,
    base_id uuid NOT NULL,
    document_id uuid NOT NULL,
    generation integer NOT NULL,
    "position" integer NOT NULL,
    content text NOT NULL,
    answer text NOT NULL,
    keywords text NOT NULL,
    terms text NOT NULL,
    tokens integer NOT NULL,
    words integer NOT NULL,
    digest bytea NOT NULL,
    enabled boolean NOT NULL,
    hit_count integer DEFAULT 0 NOT NULL,
    embedding bytea,
    created_at bigint NOT NULL,
    updated_at bigint NOT NULL
);
CREATE SEQUENCE public.segments_number_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1;
ALTER SEQUENCE public.segments_number_seq OWNED BY public.segments.number;
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
ALTER TABLE ONLY public.segments ALTER COLUMN number SET DEFAULT nextval('public.segments_number_seq'::regclass);
INSERT INTO public.alembic_version VALUES ('0004');
INSERT INTO public.api_keys VALUES ('00000000-0000-0000-0000-0000000003f0', '00000000-0000-7000-8000-000000000001', '00000000-0000-0000-0000-000000000001', '\x00ff00ff00ff00ff00ff00ff00ff00ff00ff00ff00ff00ff00ff00ff00ff00ff', 'app-abcd', 1793534820000000, NULL);
INSERT INTO public.app_configs VALUES ('00000000-0000-0000-0000-0000000003eb', '00000000-0000-7000-8000-000000000001', '00000000-0000-0000-0000-000000000001', 1, '{"model":{"provider":"scripted","name":"m","mode":"chat","params":{},"stop":[]},"prompt_type":"simple","pre_prompt":"Be kind.","chat_prompt":[],"completion_prompt":"","user_prefix":"Human","assistant_prefix":"Assistant","form":[],"raw_form":[],"opening_statement":null,"suggested_questions":[],"suggestions_enabled":false,"citations_enabled":true,"more_like_this_enabled":false,"blocking":true,"leaving":"finish","reasoning":"answer","max_active_requests":0,"files":{"enabled":false,"types":["image"],"extensions":[],"methods":["remote_url","local_file"],"most":3,"detail":"high"},"agent":null,"speech_to_text":false,"speech":null,"moderation":null,"external_data_tools":[],"knowledge":null,"origins":[]}', 'file', 1793534460000000);
INSERT INTO public.app_configs VALUES ('00000000-0000-0000-0000-0000000003ee', '00000000-0000-7000-8000-000000000001', '00000000-0000-0000-0000-000000000001', 2, '{"model":{"provider":"scripted","name":"m","mode":"chat","params":{},"stop":[]},"prompt_type":"simple","pre_prompt":"Be brief.","chat_prompt":[],"completion_prompt":"","user_prefix":"Human","assistant_prefix":"Assistant","form":[],"raw_form":[],"opening_statement":null,"suggested_questions":[],"suggestions_enabled":false,"citations_enabled":true,"more_like_this_enabled":false,"blocking":true,"leaving":"finish","reasoning":"answer","max_active_requests":0,"files":{"enabled":false,"types":["image"],"extensions":[],"methods":["remote_url","local_file"],"most":3,"detail":"high"},"agent":null,"speech_to_text":false,"speech":null,"moderation":null,"external_data_tools":[],"knowledge":null,"origins":[]}', 'file', 1793534640000000);
INSERT INTO public.app_configs VALUES ('00000000-0000-0000-0000-00000000040a', '00000000-0000-7000-8000-000000000001', '00000000-0000-0000-0000-000000000002', 1, '{"model":{"provider":"scripted","name":"m","mode":"chat","params":{},"stop":[]},"prompt_type":"simple","pre_prompt":"","chat_prompt":[],"completion_prompt":"","user_prefix":"Human","assistant_prefix":"Assistant","form":[],"raw_form":[],"opening_statement":null,"suggested_questions":[],"suggestions_enabled":false,"citations_enabled":true,"more_like_this_enabled":false,"blocking":true,"leaving":"finish","reasoning":"answer","max_active_requests":0,"files":{"enabled":false,"types":["image"],"extensions":[],"methods":["remote_url","local_file"],"most":3,"detail":"high"},"agent":null,"speech_to_text":false,"speech":null,"moderation":null,"external_data_tools":[],"knowledge":null,"origins":[]}', 'file', 1793536320000000);
INSERT INTO public.apps VALUES ('00000000-0000-0000-0000-000000000001', '00000000-0000-7000-8000-000000000001', 'Helper', 'chat', '{"title":"Helper","description":"","icon":"🤖","icon_background":"#FFEAD5","icon_type":"emoji","default_language":"en-US","copyright":"","privacy_policy":"","custom_disclaimer":"","chat_color_theme":"","chat_color_theme_inverted":false,"use_icon_as_answer_icon":false}', true, '00000000-0000-0000-0000-0000000003ee', 1793534460000000, 1793534640000000, NULL);
INSERT INTO public.apps VALUES ('00000000-0000-0000-0000-000000000002', '00000000-0000-7000-8000-000000000001', 'Gone', 'chat', '{"title":"Gone","description":"","icon":"🤖","icon_background":"#FFEAD5","icon_type":"emoji","default_language":"en-US","copyright":"","privacy_policy":"","custom_disclaimer":"","chat_color_theme":"","chat_color_theme_inverted":false,"use_icon_as_answer_icon":false}', true, '00000000-0000-0000-0000-00000000040a', 1793536320000000, 1793536500000000, 1793536500000000);
INSERT INTO public.citations VALUES ('00000000-0000-0000-0000-000000000406', 1, '00000000-0000-7000-8000-000000000001', '00000000-0000-0000-0000-00000000040c', 1793536620000000, '{"content": "说"}');
INSERT INTO public.conversations VALUES ('00000000-0000-0000-0000-000000000003', '00000000-0000-7000-8000-000000000001', '00000000-0000-0000-0000-000000000001', '00000000-0000-0000-0000-0000000003f1', '00000000-0000-0000-0000-0000000003ee', 'New conversation', '{"大": 1606938044258990275541962092341162602522202993782792835301376, "f": 0.1, "é": "😀", "none": null}', 'Hello.', false, 1793535060000000, 1793535900000000, NULL);
INSERT INTO public.conversations VALUES ('00000000-0000-0000-0000-000000000004', '00000000-0000-7000-8000-000000000001', '00000000-0000-0000-0000-000000000001', '00000000-0000-0000-0000-000000000402', '00000000-0000-0000-0000-0000000003ee', 'New conversation', '{"大": 1606938044258990275541962092341162602522202993782792835301376, "f": 0.1, "é": "😀", "none": null}', 'Hello.', false, 1793536260000000, 1793536260000000, NULL);
INSERT INTO public.documents VALUES ('00000000-0000-0000-0000-000000000411', '00000000-0000-7000-8000-000000000001', '00000000-0000-0000-0000-000000000005', 1, '猫.txt', 'upload_file', '/猫.txt', '\xf52ee95675a822b6da76b8863a6f7170073ce55b5d53f8d800a483548870f46e', 'knowledge/00000000000000000000000000000005/00000000000000000000000000000411/00000000000000000000000000000412', 6442450944, 'txt', 'text/plain', '{"mode":"custom","separator":"###","max_tokens":500,"overlap":50,"remove_extra_spaces":true,"remove_urls_emails":false,"form":"text_model"}', 'English', '20260102030405000001', 'completed', NULL, true, false, 1, 3, 18, 2, 2, 0, NULL, 1795788210597701, 1, 1793536980000000, 1793537220000000, 1767323045678913, NULL, NULL, 1793537220000000, NULL);
INSERT INTO public.documents VALUES ('00000000-0000-0000-0000-000000000418', '00000000-0000-7000-8000-000000000001', '00000000-0000-0000-0000-000000000005', 2, 'later.txt', 'upload_file', NULL, '\x90370f0525aaf15a21d1422a6ddce6f34b3a919c7ea01d91ce2027361e208baf', 'knowledge/00000000000000000000000000000005/00000000000000000000000000000418/00000000000000000000000000000419', 6442450944, 'txt', 'text/plain', '{"mode":"custom","separator":"###","max_tokens":500,"overlap":50,"remove_extra_spaces":true,"remove_urls_emails":false,"form":"text_model"}', 'English', '20260102030405000001', 'waiting', NULL, true, false, 0, 0, 0, 0, 0, 0, NULL, NULL, 0, 1793537400000000, 1793537400000000, NULL, NULL, NULL, NULL, NULL);
INSERT INTO public.end_users VALUES ('00000000-0000-0000-0000-0000000003f1', '00000000-0000-7000-8000-000000000001', '00000000-0000-0000-0000-000000000001', 'api', 'ann', 1793535060000000);
INSERT INTO public.end_users VALUES ('00000000-0000-0000-0000-000000000402', '00000000-0000-7000-8000-000000000001', '00000000-0000-0000-0000-000000000001', 'api', 'bob', 1793536080000000);
INSERT INTO public.feedback VALUES ('00000000-0000-0000-0000-0000000003f6', '00000000-0000-7000-8000-000000000001', '00000000-0000-0000-0000-000000000001', '00000000-0000-0000-0000-0000000003f1', '00000000-0000-0000-0000-0000000003f2', 'api', 'like', 'good', 1793535180000000, 1793535180000000);
INSERT INTO public.knowledge_bases VALUES ('00000000-0000-0000-0000-000000000005', '00000000-0000-7000-8000-000000000001', '指南', '', 'only_me', 'high_quality', 'openai', 'small', 1, '{"method":"hybrid_search","top_k":4,"score_threshold":null,"fusion":"weighted","vector_weight":0.7,"keyword_weight":0.3,"rerank_model":""}', 1, 1793536680000000, 1793537400000000, NULL);
INSERT INTO public.knowledge_keys VALUES ('00000000-0000-0000-0000-00000000040f', '00000000-0000-7000-8000-000000000001', '\x00ff00ff00ff00ff00ff00ff00ff00ff00ff00ff00ff00ff00ff00ff00ff00ff', 'dataset-abcd', 1793536800000000, NULL);
INSERT INTO public.message_files VALUES ('00000000-0000-0000-0000-000000000405', '00000000-0000-7000-8000-000000000001', '00000000-0000-0000-0000-000000000406', '00000000-0000-0000-0000-000000000403', 1, 'user', 'remote_url', 'https://example.org/cat.png');
INSERT INTO public.messages VALUES ('00000000-0000-0000-0000-0000000003f2', '00000000-0000-7000-8000-000000000001', '00000000-0000-0000-0000-000000000001', '00000000-0000-0000-0000-0000000003f1', '00000000-0000-0000-0000-000000000003', '00000000-0000-0000-0000-0000000003ee', NULL, NULL, 1, '{"大": 1606938044258990275541962092341162602522202993782792835301376, "f": 0.1, "é": "😀", "none": null}', 'why?', 'He said: "你好"
	  😀 \u0000', 'hm', 'normal', NULL, NULL, '00000000-0000-0000-0000-000000000007', 1795788210539881, 1793535060000000, 1793535120000000, 0, 2, 0);
INSERT INTO public.messages VALUES ('00000000-0000-0000-0000-0000000003f7', '00000000-0000-7000-8000-000000000001', '00000000-0000-0000-0000-000000000001', '00000000-0000-0000-0000-0000000003f1', '00000000-0000-0000-0000-000000000003', '00000000-0000-0000-0000-0000000003ee', NULL, '00000000-0000-0000-0000-0000000003f2', 2, '{"大": 1606938044258990275541962092341162602522202993782792835301376, "f": 0.1, "é": "😀", "none": null}', 'stopped', 'half', '', 'stopped', NULL, NULL, '00000000-0000-0000-0000-000000000007', 1795788210557802, 1793535360000000, 1793535420000000, 0, 0, 0);
INSERT INTO public.messages VALUES ('00000000-0000-0000-0000-0000000003fa', '00000000-0000-7000-8000-000000000001', '00000000-0000-0000-0000-000000000001', '00000000-0000-0000-0000-0000000003f1', '00000000-0000-0000-0000-000000000003', '00000000-0000-0000-0000-0000000003ee', NULL, '00000000-0000-0000-0000-0000000003f7', 3, '{"大": 1606938044258990275541962092341162602522202993782792835301376, "f": 0.1, "é": "😀", "none": null}', 'error', 'half', '', 'error', 'completion_request_error', 'Why.', '00000000-0000-0000-0000-000000000007', 1795788210560807, 1793535540000000, 1793535600000000, 0, 0, 0);
INSERT INTO public.messages VALUES ('00000000-0000-0000-0000-0000000003fd', '00000000-0000-7000-8000-000000000001', '00000000-0000-0000-0000-000000000001', '00000000-0000-0000-0000-0000000003f1', '00000000-0000-0000-0000-000000000003', '00000000-0000-0000-0000-0000000003ee', NULL, '00000000-0000-0000-0000-0000000003fa', 4, '{"大": 1606938044258990275541962092341162602522202993782792835301376, "f": 0.1, "é": "😀", "none": null}', 'interrupted', 'half', '', 'interrupted', 'completion_request_error', 'Why.', '00000000-0000-0000-0000-000000000007', 1795788210563453, 1793535720000000, 1793535780000000, 0, 0, 0);
INSERT INTO public.messages VALUES ('00000000-0000-0000-0000-000000000400', '00000000-0000-7000-8000-000000000001', '00000000-0000-0000-0000-000000000001', '00000000-0000-0000-0000-0000000003f1', '00000000-0000-0000-0000-000000000003', '00000000-0000-0000-0000-0000000003ee', NULL, '00000000-0000-0000-0000-0000000003fd', 5, '{"大": 1606938044258990275541962092341162602522202993782792835301376, "f": 0.1, "é": "😀", "none": null}', 'running', 'half', '', 'running', NULL, NULL, '00000000-0000-0000-0000-000000000007', 1795788210566147, 1793535900000000, NULL, 0, 0, 0);
INSERT INTO public.messages VALUES ('00000000-0000-0000-0000-000000000406', '00000000-0000-7000-8000-000000000001', '00000000-0000-0000-0000-000000000001', '00000000-0000-0000-0000-000000000402', '00000000-0000-0000-0000-000000000004', '00000000-0000-0000-0000-0000000003ee', NULL, NULL, 1, '{"大": 1606938044258990275541962092341162602522202993782792835301376, "f": 0.1, "é": "😀", "none": null}', 'why?', '', '', 'running', NULL, NULL, '00000000-0000-0000-0000-000000000007', 1795788210568894, 1793536260000000, NULL, 1, 0, 0);
INSERT INTO public.rounds VALUES ('00000000-0000-0000-0000-0000000003f2', 1, '00000000-0000-7000-8000-000000000001', 'openai', 'small', 11, 3, 0.15, 0.60, 0.000001, 0.0000017, 0.0000018, 'USD', false, 0.25);
INSERT INTO public.rounds VALUES ('00000000-0000-0000-0000-0000000003f2', 2, '00000000-0000-7000-8000-000000000001', 'openai', 'small', 11, 3, 0.15, 0.60, 0.000001, 0.0000017, 0.0000018, 'USD', false, 0.25);
INSERT INTO public.segments VALUES (1, '00000000-0000-0000-0000-000000000414', '00000000-0000-7000-8000-000000000001', '00000000-0000-0000-0000-000000000005', '00000000-0000-0000-0000-000000000411', 1, 1, '猫は魚が好き。', '', '["one","二"]', '猫は は魚 魚が が好 好き き', 1, 7, '\x0fefa4ca3cf878e48a71db82ed99d3fc6d6584785ff2d14dc55608ae61eba84d', true, 0, '\x003c', 1793537160000000, 1793537160000000);
INSERT INTO public.segments VALUES (2, '00000000-0000-0000-0000-000000000415', '00000000-0000-7000-8000-000000000001', '00000000-0000-0000-0000-000000000005', '00000000-0000-0000-0000-000000000411', 1, 2, 'Dogs don''t.', 'He said: "你好"
	  😀 \u0000', '["one","二"]', 'dogs don t', 2, 11, '\x7399c61ae31359ff329ffc1e4fe31da5963c674fac77dfae159bd6405938de09', true, 0, NULL, 1793537160000000, 1793537160000000);
INSERT INTO public.thoughts VALUES ('00000000-0000-0000-0000-0000000003f2', 1, '00000000-0000-7000-8000-000000000001', '00000000-0000-0000-0000-000000000005', 1793534400000000, 'Let me see…', '[{"id":"call_1","tool":"clock","arguments":"{\"zone\": \"UTC\"}","observation":"12:00 \u0000"},{"id":"call_2","tool":"x","arguments":"{","observation":null}]', '{"clock":{"en_US":"Clock","zh_Hans":"时钟"}}', '["00000000-0000-0000-0000-000000000006"]');
INSERT INTO public.thoughts VALUES ('00000000-0000-0000-0000-0000000003f2', 2, '00000000-0000-7000-8000-000000000001', '00000000-0000-0000-0000-000000000007', 1793534400000000, 'It is noon.', '[]', '{}', '[]');
INSERT INTO public.upload_files VALUES ('00000000-0000-0000-0000-000000000403', '00000000-0000-7000-8000-000000000001', '00000000-0000-0000-0000-000000000001', '00000000-0000-0000-0000-000000000402', '猫.png', 1099511627776, 'png', 'image/png', 'image', 'app/file.png', 'remote', 'https://example.org/cat.png', 1793536080000000, 1793536260000000);
INSERT INTO public.workspaces VALUES ('00000000-0000-7000-8000-000000000001', 'Default');
SELECT pg_catalog.setval('public.segments_number_seq', 2, true);
ALTER TABLE ONLY public.alembic_version
    ADD CONSTRAINT alembic_version_pkc PRIMARY KEY (version_num);
ALTER TABLE ONLY public.api_keys
    ADD CONSTRAINT pk_api_keys PRIMARY KEY (id);
ALTER TABLE ONLY public.app_configs
    ADD CONSTRAINT pk_app_configs PRIMARY KEY (id);
ALTER TABLE ONLY public.apps
    ADD CONSTRAINT pk_apps PRIMARY KEY (id);
ALTER TABLE ONLY public.citations
    ADD CONSTRAINT pk_citations PRIMARY KEY (message_id, "position");
ALTER TABLE ONLY public.conversations
    ADD CONSTRAINT pk_conversations PRIMARY KEY (id);
ALTER TABLE ONLY public.documents
    ADD CONSTRAINT pk_documents PRIMARY KEY (id);
ALTER TABLE ONLY public.end_users
    ADD CONSTRAINT pk_end_users PRIMARY KEY (id);
ALTER TABLE ONLY public.feedback
    ADD CONSTRAINT pk_feedback PRIMARY KEY (id);
ALTER TABLE ONLY public.knowledge_bases
    ADD CONSTRAINT pk_knowledge_bases PRIMARY KEY (id);
ALTER TABLE ONLY public.knowledge_keys
    ADD CONSTRAINT pk_knowledge_keys PRIMARY KEY (id);
ALTER TABLE ONLY public.message_files
    ADD CONSTRAINT pk_message_files PRIMARY KEY (id);
ALTER TABLE ONLY public.messages
    ADD CONSTRAINT pk_messages PRIMARY KEY (id);
ALTER TABLE ONLY public.rounds
    ADD CONSTRAINT pk_rounds PRIMARY KEY (message_id, "position");
ALTER TABLE ONLY public.segments
    ADD CONSTRAINT pk_segments PRIMARY KEY (number);
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
ALTER TABLE ONLY public.knowledge_keys
    ADD CONSTRAINT uq_knowledge_keys_digest UNIQUE (digest);
ALTER TABLE ONLY public.message_files
    ADD CONSTRAINT uq_message_files_message_id_position UNIQUE (message_id, "position");
ALTER TABLE ONLY public.messages
    ADD CONSTRAINT uq_messages_conversation_id_position UNIQUE (conversation_id, "position");
ALTER TABLE ONLY public.segments
    ADD CONSTRAINT uq_segments_id UNIQUE (id);
ALTER TABLE ONLY public.upload_files
    ADD CONSTRAINT uq_upload_files_key UNIQUE (key);
CREATE INDEX ix_conversations_deleted ON public.conversations USING btree (deleted_at) WHERE (deleted_at IS NOT NULL);
CREATE INDEX ix_conversations_live_created_at ON public.conversations USING btree (app_id, user_id, created_at, id) WHERE (deleted_at IS NULL);
CREATE INDEX ix_conversations_live_updated_at ON public.conversations USING btree (app_id, user_id, updated_at, id) WHERE (deleted_at IS NULL);
CREATE INDEX ix_documents_base_id ON public.documents USING btree (base_id, "position");
CREATE INDEX ix_documents_batch ON public.documents USING btree (base_id, batch);
CREATE INDEX ix_documents_key ON public.documents USING btree (key);
CREATE INDEX ix_documents_origin ON public.documents USING btree (base_id, origin);
CREATE INDEX ix_documents_unfinished ON public.documents USING btree (created_at) WHERE (status = ANY (ARRAY['waiting'::text, 'parsing'::text, 'splitting'::text, 'indexing'::text]));
CREATE INDEX ix_message_files_file_id ON public.message_files USING btree (file_id);
CREATE INDEX ix_messages_running ON public.messages USING btree (owner) WHERE (outcome = 'running'::text);
CREATE INDEX ix_segments_base_id ON public.segments USING btree (base_id, number, document_id, generation, enabled, updated_at, words);
CREATE INDEX ix_segments_document_id ON public.segments USING btree (document_id, generation, "position");
CREATE INDEX ix_upload_files_unused ON public.upload_files USING btree (created_at) WHERE (used_at IS NULL);
CREATE UNIQUE INDEX ux_knowledge_bases_name ON public.knowledge_bases USING btree (workspace_id, name) WHERE (deleted_at IS NULL);
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
ALTER TABLE ONLY public.citations
    ADD CONSTRAINT fk_citations_message_id FOREIGN KEY (message_id) REFERENCES public.messages(id);
ALTER TABLE ONLY public.citations
    ADD CONSTRAINT fk_citations_workspace_id FOREIGN KEY (workspace_id) REFERENCES public.workspaces(id);
ALTER TABLE ONLY public.conversations
    ADD CONSTRAINT fk_conversations_app_id FOREIGN KEY (app_id) REFERENCES public.apps(id);
ALTER TABLE ONLY public.conversations
    ADD CONSTRAINT fk_conversations_config_id FOREIGN KEY (config_id) REFERENCES public.app_configs(id);
ALTER TABLE ONLY public.conversations
    ADD CONSTRAINT fk_conversations_user_id FOREIGN KEY (user_id) REFERENCES public.end_users(id);
ALTER TABLE ONLY public.conversations
    ADD CONSTRAINT fk_conversations_workspace_id FOREIGN KEY (workspace_id) REFERENCES public.workspaces(id);
ALTER TABLE ONLY public.documents
    ADD CONSTRAINT fk_documents_base_id FOREIGN KEY (base_id) REFERENCES public.knowledge_bases(id);
ALTER TABLE ONLY public.documents
    ADD CONSTRAINT fk_documents_workspace_id FOREIGN KEY (workspace_id) REFERENCES public.workspaces(id);
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
ALTER TABLE ONLY public.knowledge_bases
    ADD CONSTRAINT fk_knowledge_bases_workspace_id FOREIGN KEY (workspace_id) REFERENCES public.workspaces(id);
ALTER TABLE ONLY public.knowledge_keys
    ADD CONSTRAINT fk_knowledge_keys_workspace_id FOREIGN KEY (workspace_id) REFERENCES public.workspaces(id);
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
ALTER TABLE ONLY public.segments
    ADD CONSTRAINT fk_segments_base_id FOREIGN KEY (base_id) REFERENCES public.knowledge_bases(id);
ALTER TABLE ONLY public.segments
    ADD CONSTRAINT fk_segments_document_id FOREIGN KEY (document_id) REFERENCES public.documents(id);
ALTER TABLE ONLY public.segments
    ADD CONSTRAINT fk_segments_workspace_id FOREIGN KEY (workspace_id) REFERENCES public.workspaces(id);
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
