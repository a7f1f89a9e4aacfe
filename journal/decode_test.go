package journal

import (
	"encoding/binary"
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/pgbell/pgbell/bus"
)

// tasks is a definition: a key, two scopes, owners in a column and in an array, a payload.
const tasks = `{"version":1,"scopes":["task:{id}","project:{project_id}"],"audience":["owner","members"],"payload":["title"],"key":["id"],
	"fields":[["id","number"],["project_id","text"],["owner","text"],["members","list"],["title","json"]],"columns":2,"deferrable":false}`

// open is another, of which everyone may hear.
const open = `{"version":1,"scopes":["t:{id}"],"audience":null,"payload":null,"key":["id"],"fields":[["id","number"]],"columns":1,"deferrable":false}`

// definitions has tasks as number 1, open as 2.
func definitions(t testing.TB) *Definitions {
	t.Helper()
	defs := new(Definitions)
	for i, text := range []string{tasks, open} {
		if err := defs.learn(int32(i+1), []byte(text)); err != nil {
			t.Fatal(err)
		}
	}
	return defs
}

// array is texts as Postgres sends them in binary; "\x00" is a null.
func array(texts ...string) string {
	b := binary.BigEndian.AppendUint32(nil, 1)
	b = binary.BigEndian.AppendUint32(b, 1)
	b = binary.BigEndian.AppendUint32(b, 25)
	b = binary.BigEndian.AppendUint32(b, uint32(len(texts)))
	b = binary.BigEndian.AppendUint32(b, 1)
	for _, text := range texts {
		if text == null {
			b = binary.BigEndian.AppendUint32(b, 1<<32-1)
			continue
		}
		b = append(binary.BigEndian.AppendUint32(b, uint32(len(text))), text...)
	}
	return string(b)
}

const null = "\x00"

func decoded(t *testing.T, op string, definition int32, facts ...string) Record {
	t.Helper()
	r := Record{LSN: 7, Part: 1}
	if err := r.decode(definitions(t), op, definition, array(facts...)); err != nil {
		t.Fatalf("%s %q: %v", op, facts, err)
	}
	return r
}

func TestFactsAreDecoded(t *testing.T) {
	got := decoded(t, "update", 1,
		"1", "7", "ann", null, `"old"`, "1", "8", "ann", `["bob",["cat",null]]`, `"new"`, "project_id", null,
		"2", "7", null, null, null, "2", "7", null, null, null, null, "title").Changes
	key := func(id string) json.RawMessage { return json.RawMessage(`{"id":` + id + `}`) }
	want := []Change{{
		Side:    Side{[]string{"task:1", "project:8"}, bus.Only("ann", "bob", "cat"), key("1")},
		Changed: []string{"project_id"}, Data: json.RawMessage(`{"title":"new"}`),
		Old: &Side{[]string{"task:1", "project:7"}, bus.Only("ann"), key("1")},
	}, {
		Side:    Side{[]string{"task:2", "project:7"}, bus.Only(), key("2")},
		Changed: []string{"title"}, Data: json.RawMessage(`{}`), // too long to travel
	}}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	got = decoded(t, "delete", 1, "3", "a b", "ann", null, `null`).Changes
	want = []Change{{Side: Side{[]string{"task:3", "project:a%20b"}, bus.Only("ann"), key("3")}, Data: json.RawMessage(`{"title":null}`)}}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

func TestRowWithoutOwnersIsForNobody(t *testing.T) {
	long := strings.Repeat("x", 1025)
	for name, owners := range map[string][2]string{
		"null": {null, null}, "the empty id": {"", `[""]`}, "nulls": {null, `[null,[null]]`}, "no element": {null, `[]`}, "too long": {long, `["` + long + `"]`},
	} {
		c := decoded(t, "insert", 1, "1", "7", owners[0], owners[1], null).Changes[0]
		if !c.Audience.Equal(bus.Only()) {
			t.Errorf("%s: got %v, want nobody", name, c.Audience.Users())
		}
	}
	if c := decoded(t, "insert", 2, "1").Changes[0]; !c.Audience.Everyone() {
		t.Errorf("no audience: got %v, want everyone", c.Audience.Users())
	}
	if r := decoded(t, "insert", 1, "1", "7", "ann", "", null); r.Reset == nil || r.Reset.Reason != ReasonTooMany || !r.Reset.Matches("project:8") || r.Reset.Matches("other") {
		t.Errorf("too many to look at: got %+v", r)
	}
	if r := decoded(t, "insert", 1, "1", "7", "ann", "{no JSON", null); r.Reset == nil || len(r.Changes) > 0 {
		t.Errorf("owners that can't be read: got %+v", r)
	}
}

func TestResetsAreDecoded(t *testing.T) {
	if r := decoded(t, "reset", 1, "truncate"); r.Op != bus.OpReset || r.Attach || r.Reset.Reason != "truncate" || !r.Reset.Matches("task:1") || r.Reset.Matches("t:1") {
		t.Errorf("got %+v", r)
	}
	for _, op := range []string{"attach", "detach"} {
		r := decoded(t, op, 1, `{"templates":["a:{id}","b"],"reason":"detached"}`)
		if r.Op != bus.OpReset || !r.Attach || r.Reset.Reason != "detached" || len(r.Changes) > 0 {
			t.Errorf("%s: got %+v", op, r)
		}
		for scope, want := range map[string]bool{"a:1": true, "b": true, "b:1": false, "a": false} {
			if r.Reset.Matches(scope) != want {
				t.Errorf("%s: matches %s: got %v, want %v", op, scope, !want, want)
			}
		}
	}
	if r := decoded(t, "attach", 1, `{"templates":[],"reason":"attached again"}`); r.Reset.Matches("a") {
		t.Error("a reset without templates matches")
	}
}

// A definition comes with the record of attach, before the first facts of its meaning.
func TestAttachTellsTheDefinition(t *testing.T) {
	defs := new(Definitions)
	facts := array("1")
	var unknown, attach, known Record
	for _, step := range []struct {
		r     *Record
		op    string
		facts string
	}{{&unknown, "insert", facts}, {&attach, "attach", array(`{"templates":[],"reason":""}`, open)}, {&known, "insert", facts}} {
		if err := step.r.decode(defs, step.op, 9, step.facts); err != nil {
			t.Fatal(err)
		}
	}
	if unknown.Reset == nil || !unknown.Reset.Matches("anything") || len(known.Changes) != 1 || known.Changes[0].Scopes[0] != "t:1" {
		t.Errorf("got %+v, then %+v", unknown, known)
	}
}

func TestDisconnectIsDecoded(t *testing.T) {
	for text, want := range map[string]*Disconnect{
		`{"user":"ann","scope":null}`: {UserID: "ann"},
		`{"user":"ann","scope":"a"}`:  {UserID: "ann", Scope: "a"},
		`{"user":null,"scope":"a"}`:   nil,
		`[]`:                          nil,
	} {
		r := decoded(t, "disconnect", 0, text)
		if !cmp.Equal(r.Disconnect, want) || (r.Reset != nil) != (want == nil) || len(r.Events()) > 0 {
			t.Errorf("%s: got %+v", text, r)
		}
	}
}

func TestPublishIsDecoded(t *testing.T) {
	for text, want := range map[string]bus.Audience{
		`{"scope":"a","audience":null,"data":{"x":1}}`: {},
		`{"scope":"a","audience":["u"]}`:               bus.Only("u"),
		`{"scope":"a","audience":[]}`:                  bus.Only(),
		`{"scope":"a"}`:                                bus.Only(), // a change that doesn't say for whom is for nobody
		"{\"scope\":\"a\",\"audience\":[\"\xff\"]}":    bus.Only(), // bytes that are no id
	} {
		r := decoded(t, "publish", 0, text)
		if len(r.Changes) != 1 || r.Changes[0].Scopes[0] != "a" || !r.Changes[0].Audience.Equal(want) {
			t.Errorf("%s: got %+v", text, r)
		}
	}
}

func TestUnknownOpSaysWhatToDo(t *testing.T) {
	r := Record{LSN: 0x1_0000_0007}
	err := r.decode(definitions(t), "merge", 1, array())
	if err == nil {
		t.Fatal("it was accepted")
	}
	for _, want := range []string{"1/7", `"merge"`, "newer than this pgbell", "upgrade"} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("%q lacks %q", err, want)
		}
	}
}

// One bad record must not keep all later ones from everybody, and is no reason to fetch
// what has nothing to do with it.
func TestUnreadableRecordResetsItsTable(t *testing.T) {
	for name, test := range map[string]struct {
		op         string
		definition int32
		facts      string
	}{
		"too few":           {"insert", 1, array("1", "7")},
		"too many":          {"update", 1, array("1", "7", null, null, null)},
		"no array":          {"delete", 1, "nonsense"},
		"cut off":           {"insert", 1, array("1", "7", null, null, null)[:30]},
		"more than it says": {"insert", 1, array("1", "7", null, null, null) + "\x00"},
		"null":              {"insert", 1, ""},
		"reset of nothing":  {"reset", 1, array()},
		"no definition":     {"insert", 7, array("1")},
		"no JSON":           {"publish", 0, array(`{`)},
		"published nowhere": {"publish", 0, array(`{"scope":"","audience":null}`)},
		"bad template":      {"attach", 0, array(`{"templates":["a:{"],"reason":"x"}`)},
		"bad definition":    {"attach", 0, array(`{"templates":[],"reason":"x"}`, `{"version":1,"scopes":["{a}"],"fields":[]}`)},
		"another version":   {"attach", 0, array(`{"templates":[],"reason":"x"}`, `{"version":2,"scopes":["a"],"fields":[]}`)},
	} {
		r := Record{}
		if err := r.decode(definitions(t), test.op, test.definition, test.facts); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if r.Op != bus.OpReset || len(r.Changes) > 0 || r.Reset == nil || r.Reset.Reason != ReasonUnreadable {
			t.Errorf("%s: got %+v", name, r)
			continue
		}
		if !r.Reset.Matches("task:1") || r.Reset.Matches("other") != (test.definition != 1) {
			t.Errorf("%s: the reset is for the wrong scopes", name)
		}
		if r.Attach != (test.op == "attach") {
			t.Errorf("%s: attach is %v", name, r.Attach)
		}
	}
}

// What was published and can't be read resets the scope that it was for, and no other.
func TestUnreadablePublishResetsItsScope(t *testing.T) {
	for _, text := range []string{
		`{"scope":"a","audience":null,"data":{"x":` + strings.Repeat("[", 20000) + strings.Repeat("]", 20000) + `}}`,
		`{"scope":"a","audience":"u"}`,
	} {
		r := decoded(t, "publish", 0, text)
		if r.Reset == nil || r.Reset.Reason != ReasonUnreadable || len(r.Changes) > 0 || !r.Reset.Matches("a") || r.Reset.Matches("b") || r.Reset.Matches("task:1") {
			t.Errorf("%.40s: got %+v", text, r)
		}
	}
}

// JSON that is nested as deep as Go reads it is left out where an event would make it deeper,
// and the rest is told.
func TestDeepJSONIsLeftOut(t *testing.T) {
	for depth, want := range map[int]bool{9_998: true, 9_999: false, 10_000: false, 10_001: false, 200_000: false} {
		deep := strings.Repeat("[", depth) + strings.Repeat("]", depth)
		r := decoded(t, "insert", 1, "1", "7", "ann", null, deep)
		if len(r.Changes) != 1 || !r.Changes[0].Audience.Allows("ann") || string(r.Changes[0].Key) != `{"id":1}` {
			t.Fatalf("%d deep: got %+v", depth, r)
		}
		if got := string(r.Changes[0].Data); got != map[bool]string{true: `{"title":` + deep + `}`, false: `{}`}[want] {
			t.Errorf("%d deep: got %.60s", depth, got)
		}
		if _, err := json.Marshal(map[string]any{"data": r.Changes[0].Data}); err != nil {
			t.Errorf("%d deep: %v", depth, err)
		}
	}
}

// What is kept of a record in memory is made to what it was.
func TestUnpackGivesTheSame(t *testing.T) {
	for _, length := range []int{1, maxShared} {
		r := decoded(t, "insert", 1, "1", "7", strings.Repeat("a", min(length, 1000)), `["`+strings.Repeat("b", 900)+`"]`, `"`+strings.Repeat("c", length)+`"`)
		if diff := cmp.Diff(r.Changes, r.packed().Unpack().Changes); diff != "" || r.packed().Changes != nil {
			t.Error(diff)
		}
	}
}

func FuzzReadFacts(f *testing.F) {
	f.Add(array("a", null, ""))
	f.Add(array())
	f.Add(array(strings.Repeat("x", maxShared+1), "y"))
	f.Add("\x00\x00\x00\x02\x00\x00\x00\x01\x00\x00\x00\x19\xff\xff\xff\xff\x00\x00\x00\x01\x00\x00\x00\x01\x00\x00\x00\x01")
	f.Fuzz(func(t *testing.T, text string) {
		facts, ok := readFacts(nil, text)
		if len(facts) > len(text) {
			t.Fatalf("%d facts in %d bytes", len(facts), len(text))
		}
		for _, definition := range []int32{1, 2, 3} {
			for _, op := range []string{"insert", "update", "delete", "reset", "publish", "attach", "disconnect"} {
				r := Record{}
				if err := r.decode(definitions(t), op, definition, text); err != nil {
					t.Fatal(err)
				}
				if !ok && op != "disconnect" && r.Reset == nil {
					t.Fatalf("%s of what can't be read: %+v", op, r)
				}
			}
		}
	})
}

func TestNotificationOfDurableFeedIsOnlyABell(t *testing.T) {
	for _, payload := range []string{
		`{"v":1,"table":"public.t","op":"update","scopes":["a","b"]}`,
		`{"v":1,"table":"public.t","op":"update","scopes":null}`,
		`{"v":1,"table":null,"op":"publish","scopes":["a"]}`,
		`{"v":1,"table":"public.t","op":"delete","scopes":["a"],"key":{"id":1},"data":{"x":1}}`, // no facts: nothing to believe
		`{"v":1}`,
	} {
		n, err := ParseNotification(payload, definitions(t))
		if err != nil || n.Volatile || n.Hello != "" || len(n.Record.Events()) > 0 {
			t.Errorf("%s: got %+v, %v", payload, n, err)
		}
	}
}

func TestNotificationOfVolatileFeedIsTheChange(t *testing.T) {
	n, err := ParseNotification(`{"v":1,"table":"public.t","op":"update","origin":"me","at":"2026-11-22T10:00:00.123456",`+
		`"scopes":["a"],"definition":1,"xid":"5","facts":["1","7","u",null,null,"1","7","u",null,null,null,"title"]}`, definitions(t))
	if err != nil {
		t.Fatal(err)
	}
	event := bus.ChangeEvent{
		Scope: "task:1", Op: bus.OpUpdate, Table: "public.t", Key: json.RawMessage(`{"id":1}`), Changed: []string{"title"}, Origin: "me", Tx: 5,
		Audience: bus.Only("u"), At: time.Date(2026, 11, 22, 10, 0, 0, 123456000, time.UTC), Data: json.RawMessage(`{}`),
	}
	want := []bus.ChangeEvent{event, event}
	want[1].Scope = "project:7"
	if diff := cmp.Diff(want, n.Record.Events()); diff != "" || !n.Volatile || n.Table != "public.t" {
		t.Errorf("%+v: %s", n, diff)
	}

	n, err = ParseNotification(`{"v":1,"table":"public.t","op":"update","scopes":null,"reason":"too large","templates":["x{"]}`, definitions(t))
	if err != nil || !n.Volatile || n.Record.Reset == nil || n.Record.Reset.Reason != "too large" || len(n.Record.Reset.Templates) > 0 {
		t.Errorf("got %+v, %v", n, err)
	}
	n, err = ParseNotification(`{"v":1,"table":"public.t","op":"insert","at":"2026-11-22T10:00:00","definition":9,"xid":"5","facts":[]}`, definitions(t))
	if err != nil || !n.Unknown || len(n.Record.Events()) > 0 {
		t.Errorf("of a definition that isn't known: got %+v, %v", n, err)
	}
}

func TestMalformedNotifications(t *testing.T) {
	for name, payload := range map[string]string{
		"empty":           ``,
		"not JSON":        `hello`,
		"not an object":   `[1]`,
		"null":            `null`,
		"no version":      `{"table":"public.t","op":"update","scopes":["a"]}`,
		"another version": `{"v":2,"table":"public.t"}`,
		"two documents":   `{"v":1}{"v":1}`,
		"facts no array":  `{"v":1,"table":"t","op":"insert","at":"2026-11-22T10:00:00","definition":2,"xid":"5","facts":"1"}`,
		"fact of object":  `{"v":1,"table":"t","op":"insert","at":"2026-11-22T10:00:00","definition":2,"xid":"5","facts":[{}]}`,
		"too few facts":   `{"v":1,"table":"t","op":"insert","at":"2026-11-22T10:00:00","definition":1,"xid":"5","facts":["1"]}`,
		"unknown op":      `{"v":1,"table":"t","op":"publish","at":"2026-11-22T10:00:00","definition":2,"xid":"5","facts":["1"]}`,
		"op reset":        `{"v":1,"table":"t","op":"reset","at":"2026-11-22T10:00:00","definition":2,"xid":"5","facts":["1"]}`,
		"no time":         `{"v":1,"table":"t","op":"insert","definition":2,"xid":"5","facts":["1"]}`,
		"no transaction":  `{"v":1,"table":"t","op":"insert","at":"2026-11-22T10:00:00","definition":2,"facts":["1"]}`,
		"no facts":        `{"v":1,"table":"t","op":"insert","at":"2026-11-22T10:00:00","scopes":["a"],"audience":null}`,
		"secret":          `{"v":1,"table":"s3cret","op":"insert","at":"s3cret","scopes":["s3cret"],"facts":[]}`,
	} {
		n, err := ParseNotification(payload, definitions(t))
		if err == nil {
			t.Errorf("%s: got %+v", name, n)
		} else if strings.Contains(err.Error(), "s3cret") {
			t.Errorf("%s: the error repeats the payload: %v", name, err)
		}
	}
}

func FuzzParseNotification(f *testing.F) {
	for _, payload := range []string{
		`{"v":1,"table":"public.t","op":"update","scopes":["a"]}`,
		`{"v":1,"table":"public.t","op":"insert","at":"2026-11-22T10:00:00","definition":2,"xid":"5","facts":["1"]}`,
		`{"v":1,"table":"public.t","op":"update","at":"2026-11-22T10:00:00.1","definition":1,"xid":"5","facts":["1","7","u",null,null,"1","8","v",null,null,null,"title"]}`,
		`{"v":1,"table":"t","op":"reset","scopes":null,"reason":"truncate","templates":["a:{id}"]}`,
		`{"v":1,"hello":"x"}`, `{"v":1,"facts":[],"FACTS":null}`, `{"v":1,"facts":null}`, `null`, `{`, `{"v":1e0}`,
	} {
		f.Add(payload)
	}
	f.Fuzz(func(t *testing.T, payload string) {
		n, err := ParseNotification(payload, definitions(t))
		if err != nil && (n.Volatile || n.Hello != "" || len(n.Record.Changes) > 0 || n.Record.Reset != nil) {
			t.Fatalf("%q: %v, yet %+v", payload, err, n)
		}
		for _, e := range n.Record.Events() {
			if e.Op == bus.OpReset || e.Op == bus.OpPublish {
				t.Fatalf("%q: forged %+v", payload, e)
			}
			if e.Audience.Everyone() != strings.HasPrefix(e.Scope, "t:") { // the definition says for whom, not the notification
				t.Fatalf("%q: forged %+v", payload, e)
			}
		}
	})
}

func BenchmarkDecode(b *testing.B) {
	defs := definitions(b)
	facts := array("9", "7", "ann", null, null, "9", "7", "ann", null, null, null, "title")
	b.ReportAllocs()
	for b.Loop() {
		r := Record{}
		if err := r.decode(defs, "update", 1, facts); err != nil {
			b.Fatal(err)
		}
	}
}
