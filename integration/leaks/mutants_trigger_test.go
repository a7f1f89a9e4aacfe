package leaks

import (
	"context"
	"strings"
)

// edit sets in a mutant's part of the generated functions of a table.
func (w *world) edit(table string) {
	if w.seams.trigger == nil {
		return
	}
	var functions []string
	w.must(w.db.writer.QueryRow(context.Background(), `select array(select pg_get_functiondef(tgfoid) from pg_trigger
		where tgrelid = $1::text::regclass and tgname like 'pgbell%')`, table).Scan(&functions))
	for _, function := range functions {
		if altered := w.seams.trigger(table, function); altered != function {
			w.exec(altered)
		}
	}
}

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
func editedUpdates(oldnew ...string) seams { return editedOnly("", "update()", oldnew...) }

// editedMembers edits only the function of an operation on the table of memberships.
func editedMembers(op string, oldnew ...string) seams { return editedOnly("members", op, oldnew...) }

// editedOnly edits only those functions whose name ends with op.
func editedOnly(table, op string, oldnew ...string) seams {
	all := edited(table, oldnew...).trigger
	return seams{trigger: func(name, function string) string {
		if head, _, _ := strings.Cut(function, "RETURNS trigger"); !strings.HasSuffix(strings.TrimSpace(head), op) {
			return function
		}
		return all(name, function)
	}}
}

// nobody is the id by which a mutant knows those who are anonymous.
const nobody = "nobody"

// ownedBy edits the user id that the functions of a table record of the row as it became:
// n, or new where they are row triggers.
func ownedBy(table, user string) seams {
	return edited(table, "pgbell.short(n.owner)", user, "pgbell.short(new.owner)", user)
}

// triggerMutants break the facts that the triggers record.
var triggerMutants = []mutant{
	{"trigger", "BYTES", ownedBy("docs", "'bob'")},
	{"row triggers with another owner", "BYTES", ownedBy("parts", "'bob'")},
	{"notifications with another owner", "BYTES", ownedBy("quick", "'bob'")},
	{"both sides are for the new owner", "LOST", editedUpdates("pgbell.short(o.owner)", "pgbell.short(n.owner)", "pgbell.short(old.owner)", "pgbell.short(new.owner)")},
	{"both sides have the new key", "BYTES", editedUpdates("o.id", "n.id", "old.id", "new.id")},
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
