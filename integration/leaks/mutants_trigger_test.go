package leaks

import "strings"

// edited returns a seam that edits the generated functions of a table, or of all: it
// replaces texts, given in pairs.
func edited(table string, oldnew ...string) seams {
	return seams{trigger: func(name, function string) string {
		if table != "" && name != table {
			return function
		}
		return strings.NewReplacer(oldnew...).Replace(function)
	}}
}

// nobody is the id by which a mutant knows those who are anonymous.
const nobody = "nobody"

// triggerMutants break what the triggers write.
var triggerMutants = []mutant{
	{"trigger", "BYTES", edited("docs", "coalesce(x.audience, 'null')", "'null'", `'"],"audience":[', `, `'"],"audience":null,"others":[', `)},
	{"row triggers without audience", "BYTES", edited("parts", "coalesce(x.audience, 'null')", "'null'")},
	{"notifications without audience", "BYTES", edited("quick", "coalesce(x.audience, 'null')", "'null'")},
	{"both sides are for the new owner", "LOST", edited("", "coalesce(x.old_audience, 'null')", "coalesce(x.audience, 'null')")},
	{"both sides have the new key", "BYTES", edited("", "x.old_key", "x.key")},
	{"a column that is no payload", "BYTES", edited("docs", `to_json("secret")`, `to_json("hidden")`, `to_json(n."secret")`, `to_json(n."hidden")`)},
	{"a column that is no ownership", "BYTES", edited("", `pg_catalog.concat("owner")`, `coalesce(nullif(concat("owner"), ''), 'bob')`)},
	{"a user without id is a member", "BYTES", seams{
		trigger: edited("", `pg_catalog.concat("owner")`, `coalesce(nullif(concat("owner"), ''), '`+nobody+`')`).trigger,
		authenticate: authenticated(func(user string) string {
			if user == "" {
				return nobody
			}
			return user
		}).authenticate,
	}},
}
