package deps

import "strings"

// settled are the functions of Postgres itself that are stable only since they follow the
// session's settings, who asks, or what definitions say: no row of a table, no clock. What
// is neither here, nor immutable, nor in passing, counts as opaque: it may read anything,
// as query_to_xml does.
var settled = words(`
	anytextcat textanycat array_to_json array_to_string concat concat_ws convert convert_from convert_to
	current_database current_schema current_schemas current_setting current_user session_user system_user getpgusername
	inet_client_addr inet_client_port inet_server_addr inet_server_port
	date date_add date_part date_subtract date_trunc extract generate_series in_range
	date_cmp_timestamptz date_eq_timestamptz date_ge_timestamptz date_gt_timestamptz date_le_timestamptz
	date_lt_timestamptz date_ne_timestamptz timestamp_cmp_timestamptz timestamp_eq_timestamptz
	timestamp_ge_timestamptz timestamp_gt_timestamptz timestamp_le_timestamptz timestamp_lt_timestamptz
	timestamp_ne_timestamptz timestamptz_cmp_date timestamptz_cmp_timestamp timestamptz_eq_date
	timestamptz_eq_timestamp timestamptz_ge_date timestamptz_ge_timestamp timestamptz_gt_date
	timestamptz_gt_timestamp timestamptz_le_date timestamptz_le_timestamp timestamptz_lt_date
	timestamptz_lt_timestamp timestamptz_mi_interval timestamptz_ne_date timestamptz_ne_timestamp
	timestamptz_pl_interval make_timestamptz time timestamp timestamptz timetz timezone
	enum_first enum_last enum_range format format_type getdatabaseencoding pg_client_encoding length
	json_build_array json_build_object json_populate_record json_populate_recordset json_to_record json_to_recordset
	json_to_tsvector jsonb_build_array jsonb_build_object jsonb_path_exists_tz jsonb_path_match_tz
	jsonb_path_query_array_tz jsonb_path_query_first_tz jsonb_path_query_tz jsonb_populate_record
	jsonb_populate_record_valid jsonb_populate_recordset jsonb_to_record jsonb_to_recordset jsonb_to_tsvector
	row_to_json to_json to_jsonb money numeric pg_collation_for pg_input_error_info pg_input_is_valid pg_typeof
	quote_literal quote_nullable regclass to_char to_date to_number to_timestamp version xml xml_is_well_formed
	get_current_ts_config to_tsvector to_tsquery plainto_tsquery phraseto_tsquery websearch_to_tsquery ts_headline
	ts_match_tq ts_match_tt ts_parse ts_token_type`)

// passing are those that give something else each time.
var passing = words(`
	now transaction_timestamp statement_timestamp clock_timestamp timeofday pg_sleep
	random random_normal setseed array_sample array_shuffle gen_random_uuid uuidv4 uuidv7 nextval`)

func words(text string) map[string]bool {
	set := map[string]bool{}
	for _, w := range strings.Fields(text) {
		set[w] = true
	}
	return set
}

// system looks at a function of Postgres itself that isn't immutable.
func (a *analyser) system(f *function) {
	name, _, _ := strings.Cut(f.name, "(")
	name = strings.Trim(name, `"`)
	switch {
	case passing[name]:
		a.timed(f.name)
	case !settled[name]:
		a.opaque(f.name)
	}
}

// literal looks for constants that mean another time later.
func (a *analyser) literal(n *node) {
	if a.moving(n) {
		a.timed("'now', 'today' or the like")
	}
}
