package sse

import (
	"encoding/json"
	"io"
	"log/slog"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/pgbell/pgbell/bus"
	"github.com/pgbell/pgbell/journal/scope"
)

func TestFrameHasTheFormOfTheContract(t *testing.T) {
	at := time.Date(2026, 11, 22, 12, 0, 0, 123_456_789, time.FixedZone("", 2*60*60))
	for _, test := range []struct {
		name, id string
		event    bus.ChangeEvent
		want     string
	}{
		{"as in the design", "1-795:799:795",
			bus.ChangeEvent{Scope: "project:7", Op: bus.OpUpdate, Table: "public.tasks", Key: json.RawMessage(`{"id": 9}`), Changed: []string{"title"}, At: at},
			"event: project:7\nid: 1-795:799:795\n" +
				`data: {"scope":"project:7","op":"update","table":"public.tasks","key":{"id":9},"changed":["title"],"at":"2026-11-22T10:00:00.123Z"}` + "\n\n"},
		{"all there is", "i",
			bus.ChangeEvent{Scope: "s", Op: bus.OpUpdate, Table: "t", Key: json.RawMessage(`{}`), Changed: []string{"a", "b"}, Moved: bus.MovedIn, Origin: "o",
				Audience: bus.Only("alice"), Data: json.RawMessage("{\n\"x\":\r\n 1 }"), Reason: "r", At: at, Tx: 5, Cursor: "c"},
			"event: s\nid: i\n" +
				`data: {"scope":"s","op":"update","table":"t","key":{},"changed":["a","b"],"moved":"in","origin":"o","data":{"x":1},"at":"2026-11-22T10:00:00.123Z"}` + "\n\n"},
		{"a reset tells nothing of a row", "i",
			bus.ChangeEvent{Scope: "s", Op: bus.OpReset, Table: "t", Key: json.RawMessage(`{}`), Changed: []string{"a"}, Moved: bus.MovedIn, Origin: "o",
				Data: json.RawMessage(`{}`), Reason: "r", At: at},
			"event: s\nid: i\n" + `data: {"scope":"s","op":"reset","table":"t","reason":"r","at":"2026-11-22T10:00:00.123Z"}` + "\n\n"},
		{"publish", "",
			bus.ChangeEvent{Scope: "s", Op: bus.OpPublish, Data: json.RawMessage(`"<a> & \u2028"`)},
			"event: s\n" + `data: {"scope":"s","op":"publish","data":"<a> & \u2028"}` + "\n\n"},
		{"nulls mean nothing", "i",
			bus.ChangeEvent{Scope: "s", Op: bus.OpPublish, Key: json.RawMessage(`null`), Data: json.RawMessage(` null `)},
			"event: s\nid: i\n" + `data: {"scope":"s","op":"publish"}` + "\n\n"},
		{"values that try to be frames", "i\nevent: x",
			bus.ChangeEvent{Scope: "s\ndata: x", Op: bus.OpPublish, Origin: "<\r\n\n\x00\u2028\xff>", Data: json.RawMessage("\"\u2028\u2029\xff\"")},
			"event: s%0Adata:%20x\n" + `data: {"scope":"s\ndata: x","op":"publish","origin":"<\r\n\n\u0000\u2028` + "\\ufffd" + `>","data":"\u2028\u2029` + "\uFFFD" + `"}` + "\n\n"},
	} {
		var b frames
		b.enc = json.NewEncoder(&b.buf)
		b.enc.SetEscapeHTML(false)
		if err := b.event(test.id, &test.event, 1); err != nil {
			t.Fatal(err)
		}
		if got := b.buf.String(); got != test.want {
			t.Errorf("%s: got\n%swant\n%s", test.name, got, test.want)
		}
	}
}

func TestEventThatIsNotJSONBecomesAReset(t *testing.T) {
	eachWire(t, func(t *testing.T) {
		w := overTCP(t, settings{})
		c := w.open("scope=a")
		bad := change("a", 1)
		bad.Data = json.RawMessage(`{"x":`)
		w.bus.Emit(bad)
		w.bus.Emit(change("a", 2))
		c.wantEvent(cursor(1), `{"scope":"a","op":"reset","table":"public.t","reason":"the event could not be written"}`)
		c.wantEvent(cursor(1), changeData("a"))
	})
}

// FuzzFrames adds one frame, made of any values, between two others: a reader by
// the WHATWG's rules finds these three and nothing more.
func FuzzFrames(f *testing.F) {
	f.Add("project:7", "1-795:799:795", "public.tasks", "me", `{"id":9}`, `{"a":[1,"\u2028"]}`, "title")
	f.Add("a\r\nevent: b", "1\n\ndata: x", "t\r", "\x00", "{\"id\":\n9}", " null", "c\nd")
	f.Add("\uFEFF", "\x00", "\u2028", "\xff\xfe", "\"\u2029\r\"", "{", ":")
	f.Add("", "", "", "", "", "", "")
	f.Add("ready", " 1", "😀", "<script>", "[[[[]]]]", "\"\xed\xa0\x80\"", "\u0085")
	h := &Handler{log: slog.New(slog.DiscardHandler)}
	f.Fuzz(func(t *testing.T, name, id, table, origin, key, data, column string) {
		b := takeFrames()
		defer b.free()
		if err := b.ready("before", []string{name}, []LiveQuery{{Name: name, Args: []LiveArg{{id, data}}}}, name); err != nil {
			t.Fatal(err)
		}
		e := bus.ChangeEvent{Scope: name, Op: bus.OpUpdate, Table: table, Origin: origin,
			Key: json.RawMessage(key), Data: json.RawMessage(data), Changed: []string{column}}
		length := b.buf.Len()
		err := b.event(id, &e, 1)
		if err != nil && b.buf.Len() != length {
			t.Fatalf("left %q behind", b.buf.String()[length:])
		}
		if err == nil {
			for _, cursor := range []string{id, "other", ""} { // of the event, which need not be the frame's
				e.Cursor = cursor
				var shared frames
				h.encodeShared(&e).add(&shared, id)
				if got, want := string(shared.bytes()), b.buf.String()[length:]; got != want {
					t.Fatalf("shared under %q: got\n%q, want\n%q", cursor, got, want)
				}
			}
		}
		if fine := json.Valid([]byte(key+" ")) && json.Valid([]byte(data+" ")); fine && err != nil {
			t.Fatalf("valid JSON refused: %v", err)
		}
		b.id("after")
		if !utf8.Valid(b.buf.Bytes()) {
			t.Fatalf("not UTF-8: %q", b.buf.String())
		}

		p := newParser(strings.NewReader(b.buf.String()))
		if got, err := p.next(); err != nil || got.name != "ready" || got.id != "before" {
			t.Fatalf("got %v, %v, want ready", got, err)
		}
		if err == nil {
			wantName, wantID := scope.Canonical(name), id
			if wantName == "" {
				wantName = "message"
			}
			if id == "" || strings.ContainsAny(id, "\r\n\x00") || !utf8.ValidString(id) {
				wantID = "before"
			}
			got, err := p.next()
			if err != nil || got.kind != event || got.name != wantName || got.id != wantID {
				t.Fatalf("got %v, %v, want %s under id %q", got, err, wantName, wantID)
			}
			var back struct{ Scope, Table, Origin string }
			if err := json.Unmarshal([]byte(got.data), &back); err != nil {
				t.Fatal(err)
			}
			for _, field := range [][2]string{{back.Scope, name}, {back.Table, table}, {back.Origin, origin}} {
				if utf8.ValidString(field[1]) && field[0] != field[1] {
					t.Errorf("got %q back, want %q", field[0], field[1])
				}
			}
			if strings.ContainsAny(got.data, "\u2028\u2029") {
				t.Errorf("line separators in %q", got.data)
			}
		}
		if got, err := p.next(); err != nil || got.id != "after" || got.data != "" {
			t.Fatalf("got %v, %v, want the id alone", got, err)
		}
		if got, err := p.next(); err != io.EOF {
			t.Fatalf("got %v, %v, want the end", got, err)
		}
	})
}

// FuzzQuery reads any query string: either a refusal of the client, or a request
// that asks for all the scopes named, each in a form that is fit for a frame.
func FuzzQuery(f *testing.F) {
	f.Add("scope=tasks&scope=project:7&since=ab-1:1:", "")
	f.Add("scope=%0a%00&scope=%C3%A9&origin=x&origin=", "ab-795:799:795,797")
	f.Add("scope=a%25&scope=a%2525&scope=%E0%A4", "1")
	f.Add("scope=open", "ab-2:1:")
	f.Add("scope="+strings.Repeat("%ff", 256), "")
	f.Add(strings.Repeat("scope=a&", 20)+";", "\x00")
	f.Fuzz(func(t *testing.T, raw, lastEventID string) {
		r := &http.Request{URL: &url.URL{RawQuery: raw}, Header: http.Header{"Last-Event-Id": {lastEventID}}}
		const limit = 5
		req, p := new(Handler).readRequest(r, limit)
		if p != nil {
			if p.Status != http.StatusBadRequest || p.Detail == "" {
				t.Fatalf("got %+v", p)
			}
			return
		}
		asked, err := url.ParseQuery(raw)
		if err != nil {
			t.Fatalf("accepted a query with %v", err)
		}
		if len(req.scopes) == 0 || len(req.scopes) > limit {
			t.Fatalf("got %d scopes", len(req.scopes))
		}
		for _, name := range asked["scope"] {
			if !slices.Contains(req.scopes, scope.Canonical(name)) {
				t.Errorf("%q is not among %q", name, req.scopes)
			}
		}
		for i, name := range req.scopes {
			if len(name) > 256 || scope.Reserved(name) || slices.Contains(req.scopes[:i], name) ||
				scope.Canonical(name) != name || strings.ContainsFunc(name, func(r rune) bool { return r <= ' ' || r >= 0x7f }) {
				t.Errorf("got scope %q", name)
			}
		}
		if lastEventID != "" && req.since.String() != lastEventID {
			t.Errorf("got cursor %q, want %q", req.since, lastEventID)
		}
	})
}
