package journal

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/pgbell/pgbell/bus"
)

func decoded(t *testing.T, op, changes string) Record {
	t.Helper()
	r := Record{Seq: 7, Part: 1}
	if err := r.decode(op, []byte(changes)); err != nil {
		t.Fatalf("%s %s: %v", op, changes, err)
	}
	return r
}

func TestRecordIsDecoded(t *testing.T) {
	got := decoded(t, "update", `[
		{"scopes":["a","b"],"audience":["u","v"],"key":{"id":1},"changed":["x"],"data":{"x":2},
		 "old":{"scopes":["a"],"audience":["u"],"key":{"id":1}}},
		{"scopes":[],"audience":null,"key":null,"changed":[],"data":null}]`).Changes
	want := []Change{{
		Side:    Side{[]string{"a", "b"}, bus.Only("u", "v"), json.RawMessage(`{"id":1}`)},
		Changed: []string{"x"}, Data: json.RawMessage(`{"x":2}`),
		Old: &Side{[]string{"a"}, bus.Only("u"), json.RawMessage(`{"id":1}`)},
	}, {
		Side: Side{Scopes: []string{}}, Changed: []string{},
	}}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

func TestAudienceThatIsMissingOrBrokenIsNobody(t *testing.T) {
	for name, changes := range map[string]string{
		"missing":              `[{"scopes":["a"]}]`,
		"empty":                `[{"scopes":["a"],"audience":[]}]`,
		"only the empty id":    `[{"scopes":["a"],"audience":[""]}]`,
		"only nulls":           `[{"scopes":["a"],"audience":[null]}]`,
		"missing on old side":  `[{"scopes":["a"],"audience":["u"],"old":{"scopes":["a"]}}]`,
		"bytes that are no id": "[{\"scopes\":[\"a\"],\"audience\":[\"\xff\"]}]",
	} {
		c := decoded(t, "update", changes).Changes[0]
		audience := c.Audience
		if c.Old != nil {
			audience = c.Old.Audience
		}
		if !audience.Equal(bus.Only()) {
			t.Errorf("%s: got %v, want nobody", name, audience.Users())
		}
	}
	if c := decoded(t, "insert", `[{"scopes":["a"],"audience":null}]`).Changes[0]; !c.Audience.Everyone() {
		t.Errorf("null: got %v, want everyone", c.Audience.Users())
	}
}

func TestResetsAreDecoded(t *testing.T) {
	for op, attach := range map[string]bool{"reset": false, "attach": true, "detach": true} {
		r := decoded(t, op, `{"templates":["a:{id}","b"],"reason":"truncate"}`)
		if r.Op != bus.OpReset || r.Attach != attach || r.Reset.Reason != "truncate" || len(r.Changes) > 0 {
			t.Errorf("%s: got %+v", op, r)
		}
		for scope, want := range map[string]bool{"a:1": true, "b": true, "b:1": false, "a": false} {
			if r.Reset.Matches(scope) != want {
				t.Errorf("%s: matches %s: got %v, want %v", op, scope, !want, want)
			}
		}
	}
	if r := decoded(t, "attach", `{"templates":[],"reason":"attached again"}`); r.Reset.Matches("a") {
		t.Error("a reset without templates matches")
	}
}

// The quick way of the triggers leaves it to the reader which columns changed.
func TestFlagsAreDecoded(t *testing.T) {
	for _, space := range []string{"", " "} { // with white space it's encoding/json that reads it
		r := decoded(t, "update", space+`[{"flags":"ftft","scopes":["a"],"audience":null,"columns":["n","m","o","p"],"data":{"n":1}}]`)
		if len(r.Changes) != 1 || !slices.Equal(r.Changes[0].Changed, []string{"m", "p"}) || string(r.Changes[0].Data) != `{"n":1}` {
			t.Errorf("got %+v", r)
		}
	}
}

func TestDisconnectIsDecoded(t *testing.T) {
	for changes, want := range map[string]*Disconnect{
		`{"user":"ann","scope":null}`: {UserID: "ann"},
		`{"user":"ann","scope":"a"}`:  {UserID: "ann", Scope: "a"},
		`{"user":null,"scope":"a"}`:   nil,
		`[]`:                          nil,
	} {
		r := decoded(t, "disconnect", changes)
		if !cmp.Equal(r.Disconnect, want) || (r.Reset != nil) != (want == nil) || len(r.Events()) > 0 {
			t.Errorf("%s: got %+v", changes, r)
		}
	}
}

func TestUnknownOpSaysWhatToDo(t *testing.T) {
	r := Record{Seq: 7, Part: 1}
	err := r.decode("merge", []byte(`[]`))
	if err == nil {
		t.Fatal("it was accepted")
	}
	for _, want := range []string{"7/1", `"merge"`, "newer than this pgbell", "upgrade"} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("%q lacks %q", err, want)
		}
	}
}

func TestUnreadableRecordResetsEveryScope(t *testing.T) {
	for name, test := range map[string]struct{ op, changes string }{
		"not JSON":          {"insert", `[{"scopes":`},
		"not an array":      {"insert", `{}`},
		"scope of a number": {"delete", `[{"scopes":[1],"audience":null}]`},
		"bad audience":      {"update", `[{"scopes":["a"],"audience":"u"}]`},
		"too deep":          {"publish", `[{"scopes":["a"],"audience":null,"data":{"x":` + strings.Repeat("[", 20000) + strings.Repeat("]", 20000) + `}}]`},
		"flags too few":     {"update", `[{"flags":"t","scopes":["a"],"audience":null,"columns":["n","m"]}]`},
		"flags of another":  {"update", `[{"flags":"tx","scopes":["a"],"audience":null,"columns":["n","m"]}]`},
		"no flags":          {"update", `[{"scopes":["a"],"audience":null,"columns":["n","m"]}]`},
		"bad template":      {"reset", `{"templates":["a:{"],"reason":"truncate"}`},
		"reset of a list":   {"attach", `[]`},
	} {
		r := decoded(t, test.op, test.changes)
		if r.Op != bus.OpReset || len(r.Changes) > 0 || r.Reset == nil || r.Reset.Reason != ReasonUnreadable {
			t.Errorf("%s: got %+v", name, r)
			continue
		}
		if !r.Reset.Matches("a") || !r.Reset.Matches("b:1/c") || !r.Reset.Matches("") {
			t.Errorf("%s: the reset leaves scopes out", name)
		}
		if r.Attach != (test.op == "attach") {
			t.Errorf("%s: attach is %v", name, r.Attach)
		}
	}
}

func TestNotificationOfDurableFeedIsOnlyABell(t *testing.T) {
	for _, payload := range []string{
		`{"v":1,"table":"public.t","op":"update","scopes":["a","b"]}`,
		`{"v":1,"table":"public.t","op":"update","scopes":null}`,
		`{"v":1,"table":null,"op":"publish","scopes":["a"]}`,
		`{"v":1,"table":"public.t","op":"delete","scopes":["a"],"key":{"id":1},"data":{"x":1}}`, // no audience: nothing to believe
		`{"v":1,"table":"public.t","op":"update","scopes":["a"],"old":{"scopes":["b"],"audience":null}}`,
		`{"v":1}`,
	} {
		n, err := ParseNotification(payload)
		if err != nil || n.Volatile || n.Hello != "" || len(n.Record.Events()) > 0 {
			t.Errorf("%s: got %+v, %v", payload, n, err)
		}
	}
}

func TestNotificationOfVolatileFeedIsTheChange(t *testing.T) {
	n, err := ParseNotification(`{"v":1,"table":"public.t","op":"update","origin":"me","at":"2026-11-22T10:00:00.123456",` +
		`"scopes":["a"],"audience":["u"],"key":{"id":1},"changed":["x"]}`)
	if err != nil {
		t.Fatal(err)
	}
	want := []bus.ChangeEvent{{
		Scope: "a", Op: bus.OpUpdate, Table: "public.t", Key: json.RawMessage(`{"id":1}`), Changed: []string{"x"}, Origin: "me",
		Audience: bus.Only("u"), At: time.Date(2026, 11, 22, 10, 0, 0, 123456000, time.UTC),
	}}
	if diff := cmp.Diff(want, n.Record.Events()); diff != "" || !n.Volatile || n.Table != "public.t" {
		t.Errorf("%+v: %s", n, diff)
	}

	n, err = ParseNotification(`{"v":1,"table":"public.t","op":"update","scopes":null,"reason":"too large","templates":["x{"]}`)
	if err != nil || !n.Volatile || n.Record.Reset == nil || n.Record.Reset.Reason != "too large" || len(n.Record.Reset.Templates) > 0 {
		t.Errorf("got %+v, %v", n, err)
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
		"bad audience":    `{"v":1,"table":"t","op":"insert","at":"2026-11-22T10:00:00","scopes":["a"],"audience":"u"}`,
		"unknown op":      `{"v":1,"table":"t","op":"publish","at":"2026-11-22T10:00:00","scopes":["a"],"audience":null}`,
		"op reset":        `{"v":1,"table":"t","op":"reset","at":"2026-11-22T10:00:00","scopes":["a"],"audience":null}`,
		"no time":         `{"v":1,"table":"t","op":"insert","scopes":["a"],"audience":null}`,
		"scope of object": `{"v":1,"table":"t","op":"insert","at":"2026-11-22T10:00:00","scopes":[{}],"audience":null}`,
		"secret":          `{"v":1,"table":"s3cret","op":"insert","at":"s3cret","scopes":["s3cret"],"audience":null}`,
	} {
		n, err := ParseNotification(payload)
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
		`{"v":1,"table":"public.t","op":"insert","at":"2026-11-22T10:00:00","scopes":["a"],"audience":null,"key":{"id":1}}`,
		`{"v":1,"table":"public.t","op":"update","at":"2026-11-22T10:00:00.1","scopes":["a"],"audience":["u"],"old":{"scopes":["b"]}}`,
		`{"v":1,"table":"t","op":"reset","scopes":null,"reason":"truncate","templates":["a:{id}"]}`,
		`{"v":1,"hello":"x"}`, `{"v":1,"audience":[],"AUDIENCE":null}`, `{"v":1,"old":null}`, `null`, `{`, `{"v":1e0}`,
	} {
		f.Add(payload)
	}
	f.Fuzz(func(t *testing.T, payload string) {
		n, err := ParseNotification(payload)
		if err != nil && (n.Volatile || n.Hello != "" || len(n.Record.Changes) > 0 || n.Record.Reset != nil) {
			t.Fatalf("%q: %v, yet %+v", payload, err, n)
		}
		for _, e := range n.Record.Events() {
			if e.Op == bus.OpReset || e.Op == bus.OpPublish || e.Tx != 0 {
				t.Fatalf("%q: forged %+v", payload, e)
			}
		}
		everyone := 0 // each side answers for itself
		for _, c := range n.Record.Changes {
			for _, audience := range []bus.Audience{c.Audience, old(c).Audience} {
				if audience.Everyone() {
					everyone++
				}
			}
		}
		if everyone > strings.Count(payload, "null") {
			t.Fatalf("%q: nobody said for whom, yet it is for everyone", payload)
		}
	})
}

func old(c Change) Side {
	if c.Old == nil {
		return Side{Audience: bus.Only()}
	}
	return *c.Old
}

// What is read fast is what encoding/json reads.
func FuzzScanChanges(f *testing.F) {
	for _, text := range []string{
		`[{"scopes":["project:7","task:9"],"audience":["ann"],"key":{"id":9},"changed":["title","done"]}]`,
		`[{"scopes":[],"audience":null,"key":null,"changed":[],"data":{"a":[1,"}"],"b":{"c":null}},"old":{"scopes":["a"],"audience":[]}}]`,
		`[{"scopes":["a"],"audience":["é"],"old":{"scopes":["b"],"audience":null,"key":{"id":"x"}}},{"scopes":["b"],"audience":[""]}]`,
		`[{"flags":"tf","scopes":["a"],"audience":null,"key":{"id":1},"columns":["n","m"],"data":{}}]`, `[{"flags":"","scopes":["a"],"audience":null,"columns":[]}]`,
		`[{"flags":"t","scopes":["a"],"audience":null}]`, `[{"flags":"x","scopes":["a"],"audience":null,"columns":["n"]}]`,
		`[{"scopes":["a"],"audience":null,"data":{}}]`, `[]`, `[{"scopes":["a\"b"],"audience":null}]`, `[{"scopes":["a"]}]`, `[{"scopes":["a"],"audience":null,"key":{"a":}}]`,
		`[{"scopes":["a"],"audience":null},]`, `[{"scopes":["a"],"audience":null}] `, `[{"scopes":["a",],"audience":null}]`, `[{"scopes":["a"],"audience":["\u0061"]}]`,
		`[{"scopes":["a"],"audience":null,"data":` + strings.Repeat(`{"a":`, 9999) + "null" + strings.Repeat("}", 9999) + `}]`,
		`[{"scopes":["a"],"audience":["u"],"key":{"id":1},"data":{"x":"` + strings.Repeat("x", maxShared) + `"}}]`,
		"[{\"scopes\":[\"a\tb\"],\"audience\":null}]", "[{\"scopes\":[\"a\"],\"audience\":[\"\xff\"]}]",
	} {
		f.Add([]byte(text))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		before := string(text)
		got, ok := scanChanges(text)
		if string(text) != before {
			t.Fatal("the text was modified")
		}
		if !ok {
			return
		}
		var wire []wireChange
		if err := json.Unmarshal(text, &wire); err != nil {
			t.Fatalf("encoding/json: %v", err)
		}
		want := make([]Change, len(wire))
		for i, w := range wire {
			var ok bool
			if want[i], ok = w.change(); !ok {
				t.Fatal("encoding/json: flags that fit no columns")
			}
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("(-encoding/json +scanned):\n%s", diff)
		}
	})
}

// That it is read fast at all, for what is common.
func TestCommonChangesAreScanned(t *testing.T) {
	for _, text := range []string{
		`[{"scopes":["project:7","task:9"],"audience":["ann"],"key":{"id":9},"changed":["title","done"]}]`,
		`[{"flags":"tfft","scopes":["project:7","task:9"],"audience":["ann"],"key":{"id":9},"columns":["title","done","n","m"]}]`,
		`[{"scopes":["a"],"audience":null,"key":{"id":9},"data":{"x":[1,"}"]}},{"scopes":["b"],"audience":["é"],"old":{"scopes":["b"],"audience":null,"key":{"id":"x"}}}]`,
	} {
		if _, ok := scanChanges([]byte(text)); !ok {
			t.Errorf("not scanned: %s", text)
		}
	}
}

func BenchmarkDecode(b *testing.B) {
	text := []byte(`[{"flags":"tttf","scopes":["project:7","task:9"],"audience":["ann"],"key":{"id":9},"columns":["title","done","updated_at","body"]}]`)
	b.ReportAllocs()
	for b.Loop() {
		r := Record{}
		if err := r.decode("update", text); err != nil {
			b.Fatal(err)
		}
	}
}
