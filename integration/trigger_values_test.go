package integration

import (
	"bytes"
	"encoding/json"
	"fmt"
	"log/slog"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/url"
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/jackc/pgx/v5"

	"github.com/pgbell/pgbell/journal/scope"
	"github.com/pgbell/pgbell/listener"
	"github.com/pgbell/pgbell/sse"
)

// foreignValues are those with which one might forge a frame, a header, a line of a
// log, or break JSON.
var foreignValues = []string{
	"plain", "", " ", "\n", "\r", "\r\n", "a\n\nevent: forged\ndata: {}\n\n", "a\rdata: forged\r\r", "\nid: forged\n", "x\nretry: 1", ":comment\n",
	"\u2028data: x\u2029", "\u0085", "\v\f", "\x01\x1b[31mred\x7f", "\ufeff", "😀", "\u202eabc\u2066", `"},{"scopes":["all"]`, `\`, `\n`, `\u0000`, `\ud800`, `","`, "'", "{p}", "{{", "%0A", "%", "%zz",
	"<script>&amp;", "a,b", "null", "\ufffd", "e\u0301", strings.Repeat("ü\n", 3334), // 10 kB
	"\nlevel=ERROR msg=forged", `{"level":"ERROR","msg":"forged"}`,
}

// Raw JSON, as a json column keeps it.
var foreignJSON = []string{`null`, "{\"a\":\n\r\n\t 1}", `"\u0000"`, `"\ud800"`, "\"\u2028\"", `"\n\ndata: x"`, `{"a":1,"a":2}`, `1e999`, "[1,\n2]", `"😀"`, "{\"\u2029\":[]}"}

const (
	foreignTable  = "t'\"\n\u2028😀\u202e{x}"
	foreignColumn = "c\"'\n\r\u2028😀"
)

// Whatever a row holds, and whatever the table and its columns are called: each
// frame parses, and says what was written; no line of the log is anybody else's.
func TestTriggerForeignValuesForgeNothing(t *testing.T) {
	d := newTriggerDB(t)
	table, column := pgx.Identifier{foreignTable}.Sanitize(), pgx.Identifier{foreignColumn}.Sanitize()
	d.exec(fmt.Sprintf(`create table %s (id int, %s text, j json, users text[], primary key (id, %[2]s))`, table, column),
		fmt.Sprintf(`select pgbell.attach('%s', array['all', 'v:{%s}', E'odd\n{{:{%[2]s}'], audience => array['users'], payload => array['%[2]s', 'j'])`,
			strings.ReplaceAll(table, "'", "''"), strings.ReplaceAll(foreignColumn, "'", "''")))
	d.exec(fmt.Sprintf(`create table w (id int, %s text, users text[], primary key (id, %[1]s)); select pgbell.attach('w', array['w'], audience => array['users'], durable => false)`, column))
	tableName := d.ask(`select quote_ident(n.nspname) || '.' || quote_ident(relname) from pg_class c join pg_namespace n on n.oid = relnamespace where relname like 't''%' and relkind = 'r'`)

	logs := [2]*logText{new(logText), new(logText)}
	options := &slog.HandlerOptions{Level: slog.LevelDebug}
	log := slog.New(slog.NewMultiHandler(slog.NewJSONHandler(logs[0], options), slog.NewTextHandler(logs[1], options)))
	e := d.listen("", listener.Config{Logger: log}).ready()
	h, err := sse.NewHandler(e.bus, sse.Config{Replay: e.l.Replay, Ready: e.l.Ready, Logger: log,
		Authenticate: func(*http.Request) (sse.Identity, error) { return sse.Identity{UserID: "\u202e😀"}, nil }})
	if err != nil {
		t.Fatal(err)
	}
	srv := httptest.NewServer(h)
	t.Cleanup(srv.Close)

	query := url.Values{"scope": {"all", "v:x", "w"}, "since": {d.ask("pgbell.cursor()")}}
	for _, v := range foreignValues {
		if name := scopeOf("v:", v); len(name) <= scope.MaxBytes {
			query.Add("scope", name)
		}
	}
	live := openStream(t, srv, query)
	id := 0
	want := map[string]payload{} // by scope and id
	write := func(value, raw string) {
		t.Helper()
		id++
		if _, err := d.writer.Exec(t.Context(), `select set_config('pgbell.origin', $1, false)`, value); err != nil {
			t.Fatal(err)
		}
		if _, err := d.writer.Exec(t.Context(), `insert into `+table+` values ($1, $2, $3::text::json, array[$2, E'\u202e😀'])`, id, value, raw); err != nil {
			t.Fatalf("%.40q, %.40q: %v", value, raw, err)
		}
		for _, name := range []string{"all", scopeOf("v:", value)} {
			if len(name) <= scope.MaxBytes {
				origin := string([]rune(value)[:min(256, len([]rune(value)))])
				want[fmt.Sprint(name, " ", id)] = payload{Scope: name, Op: "insert", Table: tableName, Origin: origin,
					Key: row{ID: id, Value: value}, Data: row{Value: value, JSON: json.RawMessage(compact(t, raw))}}
			}
		}
	}
	ring := func(value string) { // without a journal
		t.Helper()
		id++
		if _, err := d.writer.Exec(t.Context(), `insert into w values ($1, $2, array[$2, E'\u202e😀'])`, id, value); err != nil {
			t.Fatalf("%.40q: %v", value, err)
		}
		if len(value) < 5000 { // else it's a reset
			want[fmt.Sprint("w ", id)] = payload{Scope: "w", Op: "insert", Table: "public.w", Origin: value, Key: row{ID: id, Value: value}}
		}
	}
	for _, v := range foreignValues {
		write(v, `{"v":1}`)
		ring(v)
	}
	for _, j := range foreignJSON {
		write("plain", j)
	}
	// A record that can't be read, under a name of the forger's.
	d.exec(`insert into pgbell.journal_0 (tbl, op, facts) values (` + quoteLiteral(foreignTable) + `, 'insert', '{no facts}')`)
	d.exec(`set pgbell.origin = ''; insert into w values (0, 'the last', array[E'\u202e😀'])`)
	frames := live.until("the last")
	d.exec(`select pgbell.publish('all', '"the end"')`)

	allowed := map[string]bool{"ready": true}
	for _, s := range query["scope"] {
		allowed[s] = true
	}
	check := func(frames []frame) {
		t.Helper()
		got := map[string]payload{}
		for _, f := range frames {
			if !allowed[f.event] {
				t.Errorf("a frame for %q: %q", f.event, f.data)
			}
			var p payload
			if err := json.Unmarshal([]byte(f.data), &p); err != nil {
				t.Fatalf("%v: %q", err, f.data)
			}
			if p.Op != "insert" || p.Key.ID == 0 {
				continue
			}
			if p.Scope != f.event {
				t.Errorf("event: %q has %q", f.event, f.data)
			}
			got[fmt.Sprint(p.Scope, " ", p.Key.ID)] = p
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("(-want +got):\n%s", diff)
		}
	}
	check(append(frames, live.until(`"the end"`)...))
	maps.DeleteFunc(want, func(_ string, p payload) bool { return p.Scope == "w" })
	check(openStream(t, srv, query).until(`"the end"`)) // replayed

	for _, line := range strings.Split(strings.TrimSuffix(logs[0].String(), "\n"), "\n") {
		var entry struct{ Level, Msg string }
		if err := json.Unmarshal([]byte(line), &entry); err != nil || entry.Msg == "forged" {
			t.Errorf("a line of the log: %q: %v", line, err)
		}
	}
	lines := strings.Split(strings.TrimSuffix(logs[1].String(), "\n"), "\n")
	for _, line := range lines {
		if !regexp.MustCompile(`^time=\S+ level=(DEBUG|INFO|WARN|ERROR) msg=`).MatchString(line) || strings.Contains(line, "msg=forged") {
			t.Errorf("a line of the log: %q", line)
		}
	}
	if !strings.Contains(logs[1].String(), "journal record can't be read") {
		t.Error("the record that can't be read is not in the log")
	}
}

// scopeOf is the scope that a template gives for a value, written here once more.
func scopeOf(literal, value string) string {
	var b strings.Builder
	for _, c := range []byte(value) {
		if regexp.MustCompile(`[A-Za-z0-9_.:@/+=~-]`).Match([]byte{c}) {
			b.WriteByte(c)
		} else {
			fmt.Fprintf(&b, "%%%02X", c)
		}
	}
	return literal + b.String()
}

func quoteLiteral(s string) string { return "'" + strings.ReplaceAll(s, "'", "''") + "'" }

// compact is raw without its white space, and with separators of lines escaped.
func compact(t *testing.T, raw string) string {
	var b bytes.Buffer
	if err := json.Compact(&b, []byte(raw)); err != nil {
		t.Fatalf("%q: %v", raw, err)
	}
	return strings.NewReplacer("\u2028", `\u2028`, "\u2029", `\u2029`).Replace(b.String())
}

type payload struct {
	Scope, Op, Table, Origin string
	Key, Data                row
}

// row is a key or data; foreignColumn can't be a tag.
type row struct {
	ID    int
	Value string
	JSON  json.RawMessage
}

func (r *row) UnmarshalJSON(text []byte) error {
	var fields map[string]json.RawMessage
	if err := json.Unmarshal(text, &fields); err != nil {
		return nil // of another frame
	}
	for name, value := range fields {
		var err error
		switch name {
		case "id":
			err = json.Unmarshal(value, &r.ID)
		case foreignColumn:
			err = json.Unmarshal(value, &r.Value)
		case "j":
			r.JSON = value
		default:
			err = fmt.Errorf("a field %q", name)
		}
		if err != nil {
			return err
		}
	}
	return nil
}
