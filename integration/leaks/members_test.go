package leaks

import (
	"maps"
	"slices"

	"pgregory.net/rapid"
)

// member says that a user is in a team.
type member struct {
	id         int
	table      string // members, whose feed tells who was regrouped, or others, where the transaction does
	user, team string
}

// teams are those that each user is in.
type teams map[string][]string

func teamsOf(members []member) teams {
	of := teams{}
	for _, m := range members {
		of[m.user] = append(of[m.user], m.team)
	}
	for user, names := range of {
		slices.Sort(names)
		of[user] = slices.Compact(names)
	}
	return of
}

// regroup is what a commit did to memberships.
type regroup struct {
	users         map[string]bool // who was named
	all           bool            // or everybody was
	before, after teams
}

// attachMembers empties the memberships, and attaches the table that tells of them.
func (w *world) attachMembers() {
	w.exec("truncate members, others")
	w.exec("select pgbell.attach('members', array['members'], audience => '{}', regroup => 'user_id')")
	w.edit("members")
}

// regroup says that these users' groups may be others.
func (x *tx) regroup(users ...string) {
	for _, user := range users {
		x.touched[user] = true
	}
}

// member changes rows of memberships. Where no feed tells of that, the transaction does,
// before or after.
func (x *tx) member(table string, before bool, sql string, args []any, users ...string) {
	x.regroup(users...)
	call := func() {
		for _, user := range users {
			if w := x.w; w.seams.regroup != nil {
				user = w.seams.regroup(user)
			}
			if user != "" {
				x.exec("select pgbell.regroup($1)", user)
			}
		}
	}
	if table == "others" && before {
		call()
	}
	x.exec(sql, args...)
	if table == "others" && !before {
		call()
	}
}

func (x *tx) join(m member, before bool) {
	x.member(m.table, before, "insert into "+m.table+" values ($1, $2, $3)", []any{m.id, m.user, m.team}, m.user)
	x.members = append(x.members, m)
}

func (x *tx) leave(m member, before bool) {
	x.member(m.table, before, "delete from "+m.table+" where id = $1", []any{m.id}, m.user)
	x.members = slices.DeleteFunc(x.members, func(o member) bool { return o.id == m.id })
}

// change has m be another user's, or of another team.
func (x *tx) change(m, to member, before bool) {
	users := slices.Compact([]string{m.user, to.user})
	x.member(m.table, before, "update "+m.table+" set user_id = $2, team = $3 where id = $1", []any{m.id, to.user, to.team}, users...)
	x.members[slices.Index(x.members, m)] = to
}

// disband takes everybody out of all teams that stand in a table.
func (x *tx) disband(table string, before bool) {
	users := map[string]bool{}
	for _, m := range x.members {
		if m.table == table {
			users[m.user] = true
		}
	}
	x.member(table, before, "truncate "+table, nil, slices.Sorted(maps.Keys(users))...)
	x.all = x.all || table == "members"
	x.members = slices.DeleteFunc(x.members, func(m member) bool { return m.table == table })
}

// joiners are who may be in a team: each who listens, but for the anonymous.
var joiners = rapid.SampledFrom(append(slices.Clone(users[:len(users)-1]), "ann", "bob", "ann", "bob"))

var teamNames = rapid.SampledFrom([]string{"team:1", "team:1", "team:2", "team:3", "team:ann", "team:ann", "team:bob", "team:bob", "ann", "bob", "team:"})

func (m *machine) member(t *rapid.T) member {
	m.born++
	return member{m.born, rapid.SampledFrom([]string{"members", "others"}).Draw(t, "table"), joiners.Draw(t, "member"), teamNames.Draw(t, "team")}
}

// membership draws a change of memberships and executes it in x.
func (m *machine) membership(t *rapid.T, x *tx) {
	before := rapid.Bool().Draw(t, "told before")
	kind := rapid.SampledFrom([]string{"join", "join", "join", "leave", "leave", "change", "change", "change", "disband"}).Draw(t, "membership")
	if len(x.members) == 0 {
		kind = "join"
	}
	switch kind {
	case "join":
		x.join(m.member(t), before)
		return
	case "disband":
		if m.held == nil && rapid.Bool().Draw(t, "really") {
			x.disband(rapid.SampledFrom([]string{"members", "others"}).Draw(t, "table"), before)
		}
		return
	}
	some := rapid.SampledFrom(x.members).Draw(t, "membership")
	if kind == "leave" {
		x.leave(some, before)
		return
	}
	to := some
	if rapid.IntRange(0, 2).Draw(t, "another user") > 0 {
		to.user = joiners.Draw(t, "member")
	} else {
		to.team = teamNames.Draw(t, "team")
	}
	x.change(some, to, before)
}

// Regroup changes memberships, and rows right after.
func (m *machine) Regroup(t *rapid.T) {
	if m.settled {
		t.Skip("nobody joins or leaves")
	}
	x := m.begin(m.db.writer, "")
	m.membership(t, x)
	x.commit()
	m.Write(t)
}

// Rush is some transactions one after the other, so that one reading has several.
func (m *machine) Rush(t *rapid.T) {
	for range rapid.IntRange(2, 4).Draw(t, "transactions") {
		m.Write(t)
	}
}
