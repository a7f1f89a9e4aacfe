package deps

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgtype"

	"github.com/pgbell/pgbell/internal/pgtest"
)

func TestMain(m *testing.M) { pgtest.Main(m) }

var (
	oracleQueries = flag.Int("queries", 0, "queries that are compared with what writes do to their results; 0: few")
	oracleSeed    = flag.Uint64("seed", 0, "where the oracle begins")
)

// watching has each change of a row kept, and a function that tries statements, one by one:
// each is undone after the query's result was looked at again.
const watching = `
do $$ begin create role reader; exception when duplicate_object then null; end $$;
grant usage on schema f to reader;
grant select on all tables in schema f to reader;
create table f.seen (n int generated always as identity, tbl text, old jsonb, new jsonb);
create function f.see() returns trigger language plpgsql as $$
begin
	insert into f.seen (tbl, old, new) values (tg_argv[0], case when tg_op <> 'INSERT' then to_jsonb(old) end, case when tg_op <> 'DELETE' then to_jsonb(new) end);
	return null;
end $$;
do $$
declare t text;
begin
	for t in select format('f.%I', relname) from pg_class
		where relnamespace = 'f'::regnamespace and relkind in ('r', 'p') and not relispartition and relname <> 'seen' loop
		execute format('create trigger see after insert or update or delete on %s for each row execute function f.see(%L)', t, t);
	end loop;
end $$;
create function f.try(query text, lookups text, statements text[], one int, two int, three text)
returns table (n int, differs boolean, changes text, gave text, moved boolean) language plpgsql as $$
declare
	digest text := 'select coalesce(string_agg(r::text, chr(10) order by r::text collate "C"), '''') from (' || query || ') r';
	before text;
	after  text;
	later  text;
	plan   json;
begin
	set local role reader;
	execute 'explain (format json) ' || digest into plan using one, two, three;
	if (plan -> 0 -> 'Plan' ->> 'Total Cost')::numeric > 2000 then
		return; -- others show the same in less time
	end if;
	execute digest into before using one, two, three;
	execute lookups into gave using one, two, three;
	reset role;
	for i in 1 .. cardinality(statements) loop
		begin
			execute statements[i];
			set local role reader;
			execute digest into after using one, two, three;
			execute lookups into later using one, two, three;
			reset role;
			n := i;
			differs := after is distinct from before;
			moved := later is distinct from gave;
			changes := (select jsonb_agg(jsonb_build_object('table', s.tbl, 'old', s.old, 'new', s.new)) from f.seen s
				where s.old::text is distinct from s.new::text);
			raise exception 'undo';
		exception
			when unique_violation or not_null_violation or check_violation or foreign_key_violation
				or cardinality_violation or numeric_value_out_of_range then
				continue;
			when raise_exception then
				null;
		end;
		if changes is not null then
			return next;
		end if;
	end loop;
end $$;
analyze;`

// oracleDatabase has the tables of tables in schema f.
func oracleDatabase(t testing.TB, tables string) *pgx.Conn {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), pgtest.Database(t))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close(context.Background()) })
	for _, sql := range []string{"create schema f; set search_path to f;", tables, watching} {
		if _, err := conn.Exec(t.Context(), sql); err != nil {
			t.Fatal(err)
		}
	}
	return conn
}

// change is of a row as a trigger saw it.
type change struct {
	Table    string
	Old, New map[string]any
}

type tried struct {
	N       int
	Differs bool
	Changes changes
	Found   found // by the lookups, before
	Moved   bool  // they found something else afterwards
}

// found are the values of each lookup, by its SQL; null where they are too many to be scopes.
type found map[string][]string

func (f *found) ScanText(v pgtype.Text) error { return json.Unmarshal([]byte(v.String), f) }

type changes []change

// ScanText keeps the digits of numbers, of which JSON in Go would lose some.
func (c *changes) ScanText(v pgtype.Text) error {
	d := json.NewDecoder(strings.NewReader(v.String))
	d.UseNumber()
	return d.Decode(c)
}

// hears says whether d has a scan for which the change of a row matters.
func hears(d Dependencies, c change, values []string, found found) bool {
	old, new := c.Old, c.New
	matches := func(s Scan, row map[string]any) bool {
		for _, e := range s.Equals {
			want := e.Value.Text
			if p := e.Value.Param; p > 0 {
				want = values[p-1]
			}
			if row[e.Column] == nil || fmt.Sprint(row[e.Column]) != want {
				return false
			}
		}
		for _, m := range s.Among {
			if of := found[nameOf(m)]; of != nil && (row[m.Column] == nil || !slices.Contains(of, fmt.Sprint(row[m.Column]))) {
				return false
			}
		}
		return row != nil
	}
	for _, s := range d.Scans {
		if s.Table != c.Table || !matches(s, old) && !matches(s, new) {
			continue
		}
		if old == nil || new == nil || slices.ContainsFunc(s.Columns, func(name string) bool { return fmt.Sprint(old[name]) != fmt.Sprint(new[name]) }) {
			return true
		}
	}
	return false
}

// trial is a query with arguments, and what statements did to its result.
type trial struct {
	name       string
	query      string   // its parameters in order
	which      []int    // of args each is
	args       []any    // two numbers and a text
	values     []string // of the query's parameters
	statements []string
	results    []tried
}

// newTrial is of a query whose parameters are by their numbers those of args.
func newTrial(name, sql string, args ...any) (x trial) {
	x.name, x.args = name, args
	x.query, x.which = numbered(sql)
	for _, w := range x.which {
		x.values = append(x.values, fmt.Sprint(args[w-1]))
	}
	return x
}

func lookup(m Among) string { return m.Of.SQL(func(n int) string { return fmt.Sprint("$", n) }, 101) }

// nameOf is one that renumbering leaves as it is.
func nameOf(m Among) string { return strings.ReplaceAll(lookup(m), "$", "#") }

// lookups is a query for what the lookups of d give.
func lookups(d Dependencies) string {
	parts := []string{}
	for _, s := range d.Scans {
		for _, m := range s.Among {
			name := "'" + strings.ReplaceAll(nameOf(m), "'", "''") + "'"
			if part := name + ", (select case when count(*) <= 100 then coalesce(array_agg(y order by y), '{}') end from unnest(" + lookup(m) + ") y)"; !slices.Contains(parts, part) {
				parts = append(parts, part)
			}
		}
	}
	return "select json_build_object(" + strings.Join(parts, ", ") + ")"
}

// try tries the statements, and what lookups gives, a query.
func (x *trial) try(ctx context.Context, conn *pgx.Conn, lookups string) error {
	// What is executed has its parameters by their own numbers, all three.
	rows, err := conn.Query(ctx, "select * from f.try($1, $2, $3, $4, $5, $6)", unnumbered(x.query, x.which), unnumbered(lookups, x.which),
		x.statements, x.args[0], x.args[1], x.args[2])
	if err == nil {
		x.results, err = pgx.CollectRows(rows, pgx.RowToStructByPos[tried])
	}
	return err
}

func (x trial) String() string { return fmt.Sprintf("%s:\n%s\nwith %v", x.name, x.query, x.values) }

// corpus are queries in which one rule matters, and nothing else hides it.
var corpus = []string{
	"select z.id from (select id, project from tasks order by id limit 1) z where z.id = 2",
	"select z.id from (select id, project from tasks order by id offset 1) z where z.id = 2",
	"select z.id, z.n from (select id, row_number() over (order by id) as n from tasks) z where z.id = 2",
	"select z.id from (select distinct on (project) id, project from tasks order by project, id) z where z.id = 5",
	"select count(*) from (select distinct project, assignee from tasks) z",
	"select z.project from (select id, project, tag from tasks order by tag, id limit 1) z",
	"select p.id, u.id from projects p left join users u on u.team = p.team and p.team = $1",
	"select p.id, u.id from users u right join projects p on u.team = p.team and p.team = $1",
	"select p.id, u.id from users u full join projects p on u.team = p.team where p.team = $1 or u.team = $2",
	"select p.id, u.id from projects p full join users u on u.team = p.team and u.team = p.id",
	"select id from tasks t where project = 3 and project not in (select u.boss from users u where u.id not in (3, 4))",
	"select id from tasks t where project = $1 and project in (select u.boss from users u where u.id < 4)",
	"select id, busy(who => project) from tasks where project = 2",
	"select bosses(assignee) from tasks where project = $1",
	"select id from notes where body = 'x' and task = 2",
	"select count(*) from users where nick = 'ann'",
	"select id from tasks where project = $1 or assignee = $2",
	"select t::text from tasks t where t.id = $1",
	"select project, assignee, n from (select project, assignee, count(*) n from tasks group by cube (project, assignee)) z where project = $1",
	"select z.id from (select id, project from tasks union all select id, team from projects) z where z.project = $1",
	"select z.id from (select id, project from tasks except select id, team from projects) z where z.project = $1",
	"with recursive r (id, boss) as (select id, boss from users where id = $1 union select u.id, u.boss from users u join r on u.id = r.boss) select * from r",
	"with p as (select id, team from projects where id = $1) select t.id, p.team from tasks t join p on p.id = t.project",
	"select e.id from events_2 e where e.project = $1",
	"select tag from things where id = $1",
	"select id from users where id === $1",
	"select n.id from notes n where n.task = $1",
	"select generate_series(1, project), tag from tasks where id = $1",
	"select p.id, x.n from projects p, lateral (select count(*) as n from tasks t where t.project = p.id) x where p.id = $1",
	"select p.id, (select max(t.id) from tasks t where t.project = p.id) from projects p where p.id = $1",
	"select t.id from tasks t join notes n on n.task = t.id and n.size = 1 where t.id = $1",
	"select id from tasks where not done and state = 'open' and project = $1",
	"select id from tasks where coalesce(project, $1) = $1",
	"select p.id, t.tag from projects p left join tasks t on t.project = p.id and p.team = $2 where t.assignee = $1",
	"select z.id, z.tag from (select p.id, t.tag from tasks t right join projects p on t.project = p.id and p.team = 2) z",
	"select z.id from (select p.id, t.tag from projects p left join tasks t on t.project = p.id and p.team = 2) z where z.tag is null",
	"select p.id, t.id, b.id from projects p left join tasks t on t.project = p.id and p.team = 2 left join big b on b.team = t.project",
	"select p.id, t.id from projects p full join tasks t on t.project = p.team and t.assignee = p.team where t.project = $1",
	"select t.id, u.name from tasks t left join users u on u.id = t.assignee where t.project = $1",
	"select t.id, u.id from tasks t join users u on u.nick = t.tag where t.project = $1",
	"select b.id, b.tag from projects p join tasks t on t.project = p.id join big b on b.team = t.assignee where p.team = $1",
	"select e.kind from projects p join tasks t on t.project = p.id join big b on b.team = t.assignee join events e on e.project = b.small where p.team = $1",
	"select z.team, b.tag from team_counts z join big b on b.team = z.team where z.name = 'Ann'",
	"select b.id, z.id from (select id, team from big order by id limit 2) b join (select id, project from tasks where assignee = $1 order by id limit 2) z on z.project = b.team",
	"select b.id, b.tag from tasks t, lateral (select * from big b where b.team = t.project order by b.id limit 1) b where t.assignee = $1",
	"select x.tag, t.id from things x join tasks t on t.project = x.id where t.assignee = $1",
	"select b.tag from things x join big b on b.team = x.project where x.tag = 'y'",
	"select b.tag from only things x left join big b on b.team = x.project where x.id = $1",
	"select t.id, m.tag from tasks t join tasks m on m.id = t.project where t.assignee = $1",
	"select t.id from tasks t where t.assignee = $1 and t.project in (select p.id from projects p where p.title = 'x')",
	"select t.id from tasks t where t.assignee = $1 and t.project not in (select p.owner from projects p)",
	"select t.id, p.title from tasks t join projects p on p.title = t.tag where t.project = $1 and not t.done",
	"select b.id, b.tag, t.id from big b join tasks t on t.project = b.team where t.state = 'held' and not t.done",
	"select b.id, t.id from big b left join tasks t on t.project = b.team and t.assignee = $1",
	"select b.id, t.id from big b full join tasks t on t.project = b.team where t.assignee = $1 or b.team = 2",
	"with recursive r (id, boss) as (select id, project from tasks where id = $1 union select t.id, t.project from tasks t join r on t.id = r.boss) select r.id, b.tag from r join big b on b.id = r.boss",
}

// try takes a query of the corpus or, where these end, makes one, and tries statements. It is
// false where Postgres refuses the query, or if it is one of several values where one is
// wanted.
func try(t testing.TB, conn *pgx.Conn, seed uint64, statements int) (x trial, d Dependencies, ok bool) {
	t.Helper()
	g := &generator{Rand: rand.New(rand.NewPCG(seed, 1))}
	var sql string
	switch {
	case seed < uint64(len(corpus)):
		sql, statements = corpus[seed], 4*statements
	case g.one(2):
		sql = g.small()
	default:
		g.depth = g.IntN(4)
		sql = g.query(nil)
	}
	x = newTrial(fmt.Sprint("seed ", seed), sql, 1+g.IntN(3), 1+g.IntN(3), g.pick("x", "y", "Ann"))
	d, err := Of(t.Context(), conn, x.query)
	if q := (*QueryError)(nil); errors.As(err, &q) {
		if seed < uint64(len(corpus)) {
			t.Fatalf("%v: %s", err, sql)
		}
		return x, d, false
	} else if err != nil {
		t.Fatalf("%v\n%v", x, err)
	}
	var tables []string
	for _, scan := range d.Scans {
		tables = append(tables, strings.TrimPrefix(scan.Table, "f."))
	}
	for range statements {
		x.statements = append(x.statements, g.statement(tables))
	}
	err = x.try(t.Context(), conn, lookups(d))
	if pgErr := (*pgconn.PgError)(nil); errors.As(err, &pgErr) && (pgErr.Code == "21000" || pgErr.Code == "22003") {
		return x, d, false
	} else if err != nil {
		t.Fatalf("%v\n%v", x, err)
	}
	return x, d, true
}

func unnumbered(query string, which []int) string {
	return parameter.ReplaceAllStringFunc(query, func(p string) string { return fmt.Sprintf("$%d", which[p[1]-'1']) })
}

// heard says whether d tells of the change that a statement made.
func (x trial) heard(d Dependencies, r tried) bool {
	return slices.ContainsFunc(r.Changes, func(c change) bool { return hears(d, c, x.values, r.Found) })
}

// count is of what statements did, and of which a query's dependencies tell.
type count struct {
	scans, bound      int // scans, and those with an equality, or a lookup
	among             int // those with a lookup
	statements        int
	differing         int // the result is another
	needless, byTable int // the result is the same: told by scope, and if all changes of a table were
}

func (c *count) add(o count) {
	c.scans += o.scans
	c.bound += o.bound
	c.among += o.among
	c.statements += o.statements
	c.differing += o.differing
	c.needless += o.needless
	c.byTable += o.byTable
}

func (c count) String() string {
	return fmt.Sprintf("%d of %d scans bound, %d by a lookup; %d statements, %d results changed; needless %d, by table %d",
		c.bound, c.scans, c.among, c.statements, c.differing, c.needless, c.byTable)
}

// count fails t where d misses a change of x's result.
func (x trial) count(t testing.TB, d Dependencies) (c count) {
	t.Helper()
	for _, r := range x.results {
		c.statements++
		heard := x.heard(d, r)
		switch {
		case r.Differs && !heard:
			t.Fatalf("%v\nits result was changed, unheard, by %s\nDepends on %+v\nThe rows %v", x, x.statements[r.N-1], d.Scans, r.Changes)
		case r.Moved && !heard:
			t.Fatalf("%v\nwhat its lookups give was changed, unheard, by %s\nDepends on %+v\nThe rows %v\nThey gave %v", x, x.statements[r.N-1], d.Scans, r.Changes, r.Found)
		case r.Differs:
			c.differing++
		case heard:
			c.needless++
			fallthrough
		default:
			if slices.ContainsFunc(r.Changes, func(r change) bool {
				return slices.ContainsFunc(d.Scans, func(s Scan) bool { return s.Table == r.Table })
			}) {
				c.byTable++
			}
		}
	}
	return c
}

// Whatever a statement does to the result of a query is told of by what the query is said to
// depend on.
func TestNoChangedResultIsMissed(t *testing.T) {
	conn := oracleDatabase(t, generated)
	queries := *oracleQueries
	if queries == 0 {
		queries = 400
		if testing.Short() {
			queries = 100
		}
	}
	var refused int
	var all count
	for n := range queries {
		x, d, ok := try(t, conn, *oracleSeed+uint64(n), 50)
		if !ok {
			refused++
			continue
		}
		if len(d.Opaque)+len(d.Time) > 0 {
			t.Fatalf("%v\nopaque %q, time %q", x, d.Opaque, d.Time)
		}
		for _, s := range d.Scans {
			all.scans++
			all.bound += min(1, len(s.Equals)+len(s.Among))
			all.among += min(1, len(s.Among))
		}
		all.add(x.count(t, d))
	}
	t.Logf("%d queries (%d more were refused by Postgres): %v", queries-refused, refused, all)
	if all.differing < queries {
		t.Errorf("%d results changed by %d statements: too few to show anything", all.differing, all.statements)
	}
}
