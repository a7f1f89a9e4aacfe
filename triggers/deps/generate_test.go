package deps

import (
	"fmt"
	"math/rand/v2"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// generated is what random queries are made of. Values are few, so that much of what is
// written changes some result.
const generated = `
create type mood as enum ('open', 'held', 'shut');
create domain team_id as int;
create collation loose (provider = icu, locale = 'und-u-ks-level2', deterministic = false);
create table users (id int primary key, team team_id, boss int, name text, nick text collate loose);
create table projects (id int primary key, team int, owner int, title varchar(9));
create table tasks (id int primary key, project int, assignee int, state mood, done boolean, tag text);
create table notes (id bigint primary key, task int, author int, body char(3), day date, size numeric);
create table events (id int, project int, kind text) partition by list (project);
create table events_1 partition of events for values in (1, 2);
create table events_2 (kind text, project int, id int);
alter table events attach partition events_2 default;
create table things (id int, project int, tag text);
create table large_things (extra text) inherits (things);
create table big (id bigint, team int, small smallint, tag text);

create view open_tasks as
	select t.id, t.project, t.assignee, t.state, t.tag, p.team, p.owner, (select max(u.boss) from users u where u.id = t.assignee) as boss
	from tasks t join projects p on p.id = t.project where not t.done;
create view team_counts as select u.team, count(*)::int as n, max(t.project) as m, u.name from tasks t join users u on u.id = t.assignee group by u.team, u.name;
create view ranked as select id, project, assignee, tag, (row_number() over (partition by project order by id))::int as n from tasks;
create view latest as select distinct on (task) id::int as id, task, author, body::text as body from notes order by task, id desc;
create view items as select id, project, tag from tasks union all select id, project, kind from events union select id, project, tag from things;
create view deep as select o.id, o.project, o.tag, n.author, n.size from open_tasks o left join notes n on n.task = o.id;
create view folded as select distinct team, name from users;
create view rolled as select project, assignee, count(*)::int as n from tasks group by rollup (project, assignee);

create function name_of(u int) returns text stable begin atomic select name from users where id = u; end;
create function team_of(u int) returns int stable return (select team from users where id = u);
create function busy(p int default 1, who int default 2) returns int stable begin atomic
	select count(*)::int from open_tasks where project = p and assignee = who; end;
create function of_project(p int) returns setof tasks stable begin atomic select * from tasks where project = p; end;
create function plus(a int, b int) returns int immutable begin atomic select a + b; end;
create function same_team(a int, b int) returns boolean stable begin atomic
	select exists (select from users x join users y on x.team = y.team where x.id = a and y.id = b); end;
create operator === (leftarg = int, rightarg = int, function = same_team);
create function next_boss(s int, u int) returns int stable begin atomic select coalesce(s, 0) + coalesce(max(boss), 0) from users where id = u; end;
create aggregate bosses (int) (sfunc = next_boss, stype = int);

alter table notes enable row level security;
create policy own on notes using (author = 1 or exists (select from users u where u.id = author and u.team = 2));
create policy written on notes for insert with check (exists (select from big));
alter table users enable row level security;
create policy seen on users for select using (boss is null or boss in (select p.owner from projects p where p.team = users.team));

insert into users select i, 1 + i % 3, nullif(i % 4, 0), (array['Ann', 'ann', 'Bob'])[1 + i % 3], (array['Ann', 'ann', 'Bob'])[1 + i % 3] from generate_series(1, 6) i;
insert into projects select i, 1 + i % 3, 1 + i % 3, (array['x', 'y'])[1 + i % 2] from generate_series(1, 5) i;
insert into tasks select i, 1 + (i * 7) % 4, nullif(1 + (i * 5) % 4, 4), (enum_range(null::mood))[1 + i % 3], i % 3 = 0, (array['x', 'y', 'X'])[1 + i % 3] from generate_series(1, 12) i;
insert into notes select i, 1 + i % 6, 1 + i % 3, (array['x', 'y'])[1 + i % 2], '2024-01-01'::date + i % 2, (array[1.0, 1.00, 2])[1 + i % 3] from generate_series(1, 8) i;
insert into events select i, 1 + i % 4, (array['x', 'y'])[1 + i % 2] from generate_series(1, 8) i;
insert into things select i, 1 + i % 3, 'x' from generate_series(1, 3) i;
insert into large_things select i, 1 + i % 3, 'y' from generate_series(1, 4) i;
insert into big select i, 1 + i % 3, i, 'y' from generate_series(1, 4) i;`

// kind is a column's, by what may be compared with it.
type kind byte

const (
	number kind = 'n'
	text   kind = 't'
	state  kind = 's'
	truth  kind = 'b'
	day    kind = 'd'
	amount kind = 'a'
	blank  kind = 'c'
	loose  kind = 'l'
)

// sources are what a from may name. Columns that are text: x, those that are numbers: n.
var sources = []struct{ name, columns string }{
	{"users", "id n, team n, boss n, name t, nick l"},
	{"projects", "id n, team n, owner n, title t"},
	{"tasks", "id n, project n, assignee n, state s, done b, tag t"},
	{"notes", "id n, task n, author n, body c, day d, size a"},
	{"events", "id n, project n, kind t"},
	{"events_2", "id n, project n, kind t"},
	{"things", "id n, project n, tag t"},
	{"only things", "id n, project n, tag t"},
	{"big", "id n, team n, small n, tag t"},
	{"open_tasks", "id n, project n, assignee n, state s, tag t, team n, owner n, boss n"},
	{"team_counts", "team n, n n, m n, name t"},
	{"ranked", "id n, project n, assignee n, tag t, n n"},
	{"latest", "id n, task n, author n, body t"},
	{"items", "id n, project n, tag t"},
	{"deep", "id n, project n, tag t, author n, size a"},
	{"folded", "team n, name t"},
	{"rolled", "project n, assignee n, n n"},
	{"of_project($i)", "id n, project n, assignee n, state s, done b, tag t"},
}

type column struct {
	sql  string
	kind kind
}

// generator makes random queries, whose results have columns a and b, numbers, and c, a text.
type generator struct {
	*rand.Rand
	names int
	with  []string // with queries that can be named
	depth int
	shape int // the next query's, if not 0
}

func (g *generator) pick(from ...string) string { return from[g.IntN(len(from))] }
func (g *generator) one(in int) bool            { return g.IntN(in) == 0 }

func (g *generator) name() string {
	g.names++
	return "q" + strconv.Itoa(g.names)
}

func (g *generator) number() string {
	if g.one(3) {
		return strconv.Itoa(1 + g.IntN(4))
	}
	return g.pick("$1", "$2")
}

func (g *generator) text() string { return g.pick("$3", "'x'", "'y'", "'Ann'") }

// of picks a column of a kind, or what stands in for it.
func (g *generator) of(k kind, columns []column) string {
	var fit []string
	for _, c := range columns {
		if c.kind == k {
			fit = append(fit, c.sql)
		}
	}
	if len(fit) == 0 {
		if k == text {
			return "'x'"
		}
		return g.number()
	}
	return g.pick(fit...)
}

func (g *generator) source(outer []column) (string, []column) {
	g.depth++
	defer func() { g.depth-- }()
	alias := g.name()
	abc := []column{{alias + ".a", number}, {alias + ".b", number}, {alias + ".c", text}}
	switch {
	case len(g.with) > 0 && g.one(3):
		return g.pick(g.with...) + " " + alias, abc
	case g.depth < 3 && g.one(4):
		if g.one(3) && outer != nil {
			return "lateral (" + g.query(outer) + ") " + alias, abc
		}
		return "(" + g.query(nil) + ") " + alias, abc
	case g.one(20):
		return fmt.Sprintf("(values (1, %s, 'x'), (2, 3, %s)) %s (a, b, c)", g.number(), g.text(), alias), abc
	}
	s := sources[g.IntN(len(sources))]
	if g.one(2) {
		s = sources[g.IntN(9)] // a table
	}
	var columns []column
	for _, c := range strings.Split(s.columns, ", ") {
		name, k, _ := strings.Cut(c, " ")
		columns = append(columns, column{alias + "." + name, kind(k[0])})
	}
	name := strings.ReplaceAll(s.name, "$i", g.number())
	if strings.HasPrefix(name, "of_project") && outer != nil && g.one(2) {
		name = "of_project(" + g.of(number, outer) + ")"
	}
	return name + " " + alias, columns
}

// from makes a from of up to three sources.
func (g *generator) from(outer []column) (string, []column) {
	sql, columns := g.source(outer)
	for range [5]int{0, 0, 1, 1, 2}[g.IntN(5)] {
		lateral := outer
		join := g.pick("join", "join", "left join", "left join", "right join", "full join", "cross join", "using")
		if strings.HasSuffix("cross join left join", join) {
			lateral = append(append([]column{}, outer...), columns...)
		}
		right, more := g.source(lateral)
		columns = append(columns, more...)
		switch {
		case join == "using":
			name := strings.TrimPrefix(more[0].sql[strings.IndexByte(more[0].sql, '.'):], ".")
			same := func(c column) bool { return strings.HasSuffix(c.sql, "."+name) && c.kind == number }
			if left := columns[:len(columns)-len(more)]; slices.ContainsFunc(left, same) && slices.IndexFunc(left, same) == lastIndex(left, same) {
				sql += " " + g.pick("join", "left join", "right join", "full join") + " " + right + " using (" + name + ")"
				columns = append(columns, column{name, number})
				return sql, columns
			}
			sql += " left join lateral (select * from " + right + ") " + g.name() + " on true"
			columns = columns[:len(columns)-len(more)]
		case join == "cross join":
			sql += " cross join " + right
		case join == "full join": // merge-joinable conditions alone
			sql = fmt.Sprintf("%s full join %s on %s = %s", sql, right, g.of(number, columns[:len(columns)-len(more)]), g.of(number, more))
		default:
			on := []string{g.of(number, columns) + " = " + g.of(number, more)}
			for g.one(4) {
				on = append(on, g.condition(columns, outer))
			}
			sql = fmt.Sprintf("%s %s %s on %s", sql, join, right, strings.Join(on, " and "))
		}
	}
	return sql, columns
}

func lastIndex(columns []column, ok func(column) bool) int {
	for i := len(columns) - 1; i >= 0; i-- {
		if ok(columns[i]) {
			return i
		}
	}
	return -1
}

func (g *generator) condition(columns, outer []column) string {
	all := append(append([]column{}, columns...), outer...)
	n := func() string { return g.of(number, all) }
	if g.depth < 3 {
		g.depth++
		defer func() { g.depth-- }()
		switch g.IntN(30) {
		case 0:
			return "exists (" + g.query(all) + ")"
		case 1:
			return "not exists (" + g.query(all) + ")"
		case 2:
			return fmt.Sprintf("%s %s (select z.a from (%s) z)", n(), g.pick("in", "in", "not in", "> all", "= any", "<> all"), g.query(all))
		case 3:
			return fmt.Sprintf("%s = (select max(z.%s) from (%s) z)", n(), g.pick("a", "b"), g.query(all))
		case 4:
			return fmt.Sprintf("(%s, %s) %s (select z.a, z.b from (%s) z)", n(), n(), g.pick("in", "not in"), g.query(all))
		case 5:
			return fmt.Sprintf("%s %s (select z.c from (%s) z where z.b = %s)", g.of(text, all), g.pick("in", "not in"), g.query(all), g.number())
		case 6:
			return fmt.Sprintf("%s = %s (array(select z.b from (%s) z))", n(), g.pick("any", "all"), g.query(all))
		case 7:
			return fmt.Sprintf("case when exists (%s) then %s else %s end = %s", g.query(all), n(), n(), g.number())
		case 8:
			return fmt.Sprintf("(select count(*) from (%s) z where z.a = %s) = %s", g.query(all), n(), g.number())
		}
	}
	switch g.IntN(22) {
	case 0:
		return fmt.Sprintf("(%s or %s)", g.condition(columns, outer), g.condition(columns, outer))
	case 1:
		return "not (" + g.condition(columns, outer) + ")"
	case 2:
		return fmt.Sprintf("coalesce(%s, %s) = %s", n(), n(), g.number())
	case 3:
		return n() + " is null"
	case 4:
		return fmt.Sprintf("%s > %s", n(), g.number())
	case 5:
		return fmt.Sprintf("%s is not distinct from %s", n(), g.number())
	case 6:
		return fmt.Sprintf("%s in (%s, %s)", n(), g.number(), g.number())
	case 7:
		return fmt.Sprintf("(%s, %s) = (%s, %s)", n(), n(), n(), g.number())
	case 8:
		return fmt.Sprintf("team_of(%s) = %s", n(), n())
	case 9:
		return fmt.Sprintf("%s === %s", n(), n())
	case 10:
		return fmt.Sprintf("plus(%s, 1) = %s", n(), g.number())
	case 11:
		return fmt.Sprintf("%s collate f.loose = %s", g.of(text, all), g.text())
	case 12:
		return fmt.Sprintf("%s = %s", g.of(text, all), g.text())
	case 13:
		for _, c := range all {
			switch c.kind {
			case truth:
				return g.pick(c.sql, "not "+c.sql, c.sql+" = true", c.sql+" is not true")
			case state:
				return c.sql + g.pick(" = 'open'", " <> 'held'", " = 'shut'")
			case day:
				return c.sql + " = '2024-01-02'"
			case amount:
				return c.sql + " = 1"
			case loose:
				return c.sql + " = 'Ann'"
			case blank:
				return g.pick(c.sql+" = 'x'", c.sql+"::text = 'x'")
			}
		}
	case 14:
		return fmt.Sprintf("name_of(%s) = %s", n(), g.text())
	case 15:
		return fmt.Sprintf("case when %s = %s then %s end = %s", n(), g.number(), n(), g.number())
	}
	return n() + " = " + g.pick(g.number(), g.number(), n())
}

// small makes a query about few rows, in which not much else hides what a rule gets wrong.
func (g *generator) small() string {
	g.depth = 3
	from, columns := g.source(nil)
	n, v := g.of(number, columns), g.number()
	z := g.name()
	list := fmt.Sprintf("%s a, %s b, %s c", g.of(number, columns), n, g.of(text, columns))
	g.shape = 4 + g.IntN(4) // distinct, distinct on, limit, window functions
	whole := g.query(nil)
	g.shape = 0
	switch g.IntN(9) {
	case 0:
		return fmt.Sprintf("select %s.* from (%s) %[1]s where %[1]s.a = %s", z, whole, v)
	case 1:
		return fmt.Sprintf("select %s.* from (%s) %[1]s where %[1]s.b = %s", z, whole, v)
	case 2:
		return fmt.Sprintf("select %s.a, 1 b, 'x' c from (%s) %[1]s where %[1]s.a = %s", z, whole, v)
	case 3, 4:
		right, more := g.source(nil)
		return fmt.Sprintf("select %s from %s %s join %s on %s = %s and %s = %s", list, from, g.pick("left", "right", "full"), right,
			g.of(number, columns), g.of(number, more), g.of(number, append(more, columns...)), v)
	case 5:
		other, more := g.source(nil)
		return fmt.Sprintf("select %s from %s where %s = %s and %s %s (select %s from %s)", list, from, n, v, n, g.pick("in", "not in"), g.of(number, more), other)
	case 6:
		what, k := g.of(text, columns), g.pick("", " collate f.loose")
		if c := columns[len(columns)-1]; c.kind == loose || c.kind == blank {
			what, k = c.sql, ""
		}
		return fmt.Sprintf("select %s from %s where %s%s = %s", list, from, what, k, g.text())
	case 7:
		return fmt.Sprintf("select %s a, busy(%s) b, name_of(%[1]s) c from %[3]s where %[1]s = %[4]s", n, g.pick(n, "who => "+n), from, v)
	}
	return fmt.Sprintf("select %s from %s where %s", list, from, g.condition(columns, nil))
}

// query makes one that may name what is outside of it.
func (g *generator) query(outer []column) string {
	g.depth++
	defer func() { g.depth-- }()
	if g.depth < 4 {
		switch g.IntN(16) {
		case 0:
			return fmt.Sprintf("(%s) %s (%s)", g.query(outer), g.pick("union", "union all", "except", "intersect"), g.query(outer))
		case 1:
			w := g.name()
			before := g.with
			first := g.query(nil)
			g.with = append(before[:len(before):len(before)], w)
			rest := g.query(outer)
			g.with = before
			return fmt.Sprintf("(with %s as %s(%s) select * from (%s) %s)", w, g.pick("", "materialized "), first, rest, g.name())
		case 2:
			if g.one(2) {
				w := g.name()
				return fmt.Sprintf("(with recursive %[1]s (a, b, c) as (%[2]s union select t.id, t.assignee, %[1]s.c from tasks t join %[1]s on t.project = %[1]s.a and %[3]s) select * from %[1]s where %[4]s)",
					w, g.query(nil), g.condition([]column{{"t.id", number}, {"t.tag", text}}, nil), g.condition([]column{{w + ".a", number}, {w + ".b", number}, {w + ".c", text}}, outer))
			}
		}
	}
	from, columns := g.from(outer)
	all := append(append([]column{}, columns...), outer...)
	where := ""
	if n := [6]int{0, 1, 1, 1, 2, 3}[g.IntN(6)]; n > 0 {
		conditions := []string{}
		for range n {
			conditions = append(conditions, g.condition(columns, outer))
		}
		where = " where " + strings.Join(conditions, " and ")
	}
	a, b, c := g.of(number, columns), g.of(number, columns), g.of(text, columns)
	shape := g.IntN(16)
	if g.shape != 0 {
		shape, g.shape = g.shape, 0
	}
	switch shape {
	case 0, 1:
		having := g.pick("", " having count(*) > 1", " having max("+b+") = "+g.number(), " having count(*) > (select count(*) from tasks z where z.project = max("+b+"))")
		return fmt.Sprintf("select %s a, (%s)::int b, max(%s) c from %s%s group by 1%s", a, g.pick("count(*)", "max("+b+")", "bosses("+b+")", "count(distinct "+b+")", "count(*) filter (where "+b+" = 1)"), c, from, where, having)
	case 2:
		return fmt.Sprintf("select max(%s) a, count(*)::int b, min(%s) c from %s%s", a, c, from, where)
	case 3:
		return fmt.Sprintf("select %s a, %s b, %s c from %s%s group by %s", a, b, c, from, where, g.pick("1, 2, 3", "1, 2, 3", "rollup (1, 2), 3", "cube (1, 2, 3)"))
	case 4:
		return fmt.Sprintf("select distinct %s a, %s b, %s c from %s%s", a, b, c, from, where)
	case 5:
		return fmt.Sprintf("(select distinct on (1) %s a, %s b, %s c from %s%s order by 1, 2, 3)", a, b, c, from, where)
	case 6:
		return fmt.Sprintf("(select %s a, %s b, %s c from %s%s order by %s limit %s)", a, b, c, from, where, g.pick("1, 2, 3", "3, 2, 1", "2 desc, 1, 3", "(select max(z.assignee) from tasks z where z.id = "+a+"), 1, 2, 3"), g.pick("1", "2", "3 offset 1", "(select count(*) from projects)"))
	case 7:
		return fmt.Sprintf("select %s a, (%s)::int b, %s c from %s%s", a, g.pick("row_number() over (order by "+a+", "+b+", "+c+")", "rank() over (partition by "+a+" order by "+b+")", "count(*) over (partition by "+b+")"), c, from, where)
	case 8:
		return fmt.Sprintf("select %s a, generate_series(%s, 2) b, %s c from %s%s", a, b, c, from, where)
	case 9:
		return fmt.Sprintf("select %s a, busy(%s) b, name_of(%s) c from %s%s", a, g.pick("", a, "who => "+a, a+", "+b), b, from, where)
	case 10:
		return fmt.Sprintf("select %s a, (select max(z.a) from (%s) z) b, %s c from %s%s", a, g.query(all), c, from, where)
	case 11: // a row as a whole
		alias, _, _ := strings.Cut(columns[0].sql, ".")
		return fmt.Sprintf("select %s a, %s b, %s::text c from %s%s", a, b, alias, from, where)
	}
	return fmt.Sprintf("select %s a, %s b, %s c from %s%s", a, b, g.of(text, all), from, where)
}

// statement changes rows of one table, in most cases one of some.
func (g *generator) statement(of []string) string {
	s := sources[g.IntN(9)]
	for try := 0; try < 20 && !slices.Contains(of, strings.TrimPrefix(s.name, "only ")); try++ {
		s = sources[g.IntN(9)]
	}
	table := strings.TrimPrefix(s.name, "only ")
	if table == "things" {
		table = g.pick("things", "large_things", "only things")
	}
	id := 1 + g.IntN(8)
	var names, values, sets []string
	for _, c := range strings.Split(s.columns, ", ") {
		name, k, _ := strings.Cut(c, " ")
		v := map[kind]string{
			number: g.pick("1", "2", "3", "4", "null"), text: g.pick("'x'", "'y'", "'X'", "'Ann'", "'ann'", "null"), state: g.pick("'open'", "'held'", "'shut'", "null"),
			truth: g.pick("true", "false", "null"), day: g.pick("'2024-01-01'", "'2024-01-02'"), amount: g.pick("1.0", "1.00", "2"), blank: g.pick("'x'", "'y'", "'x  '"), loose: g.pick("'Ann'", "'ann'", "'Bob'"),
		}[kind(k[0])]
		if name == "id" {
			v = strconv.Itoa(20 + g.IntN(3))
			if g.one(3) {
				v = strconv.Itoa(7 + g.IntN(6))
			}
		} else if g.one(2) {
			sets = append(sets, name+" = "+v)
		}
		names, values = append(names, name), append(values, v)
	}
	where := fmt.Sprintf(" where id = %d", id)
	if g.one(8) {
		where = ""
	}
	switch g.IntN(5) {
	case 0:
		if !strings.HasPrefix(table, "only") {
			return fmt.Sprintf("insert into %s (%s) values (%s)", table, strings.Join(names, ", "), strings.Join(values, ", "))
		}
		fallthrough
	case 1:
		return "delete from " + table + where
	}
	if len(sets) == 0 {
		sets = []string{names[1] + " = " + values[1]}
	}
	return "update " + table + " set " + g.pick(strings.Join(sets, ", "), sets[0]) + where
}

var parameter = regexp.MustCompile(`\$[123]`)

// numbered gives the parameters of a query the numbers from 1 on, and says which each was.
func numbered(query string) (string, []int) {
	var which []int
	return parameter.ReplaceAllStringFunc(query, func(p string) string {
		n, _ := strconv.Atoi(p[1:])
		for i, w := range which {
			if w == n {
				return "$" + strconv.Itoa(i+1)
			}
		}
		which = append(which, n)
		return "$" + strconv.Itoa(len(which))
	}), which
}
