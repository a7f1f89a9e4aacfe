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

// editedUpdates edits only the functions that record an update, which know both sides.
func editedUpdates(oldnew ...string) seams {
	return seams{trigger: func(_, function string) string {
		if head, _, _ := strings.Cut(function, "RETURNS trigger"); !strings.HasSuffix(strings.TrimSpace(head), "update()") {
			return function
		}
		return strings.NewReplacer(oldnew...).Replace(function)
	}}
}

// nobody is the id by which a mutant knows those who are anonymous.
const nobody = "nobody"

// triggerMutants break the facts that the triggers record.
var triggerMutants = []mutant{
	{"trigger", "BYTES", edited("docs", "pgbell.short(n.owner)", "'bob'")},
	{"row triggers with another owner", "BYTES", edited("parts", "pgbell.short(n.owner)", "'bob'")},
	{"notifications with another owner", "BYTES", edited("quick", "pgbell.short(n.owner)", "'bob'")},
	{"both sides are for the new owner", "LOST", editedUpdates("pgbell.short(o.owner)", "pgbell.short(n.owner)")},
	{"both sides have the new key", "BYTES", editedUpdates("o.id", "n.id")},
	{"a column that is no payload", "BYTES", edited("docs", "pgbell.json_of(n.secret)", "pgbell.json_of(n.hidden)")},
	{"a column that is no ownership", "BYTES", edited("", "pgbell.short(n.owner)", "coalesce(pgbell.short(n.owner), 'bob')")},
	{"a user without id is a member", "BYTES", seams{
		trigger: edited("", "pgbell.short(n.owner)", "coalesce(pgbell.short(n.owner), '"+nobody+"')").trigger,
		authenticate: authenticated(func(user string) string {
			if user == "" {
				return nobody
			}
			return user
		}).authenticate,
	}},
}
