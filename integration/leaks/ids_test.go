package leaks

import (
	"context"
	"encoding/base64"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/pgbell/pgbell/sse"
)

// long returns an id of n bytes that no compression makes much shorter.
func long(n int) string {
	var b strings.Builder
	for i := 0; b.Len() < n; i++ {
		b.WriteString(token("k"))
	}
	return b.String()[:n]
}

var (
	longest = long(1024)
	tooLong = longest + "x"
)

// readers are ids that might be taken for one another. A header could not carry them
// all, so that these come encoded.
var readers = []string{
	"", "ann", "Ann", "ANN", " ann", "ann ", "  ", "\u0430nn", "a\u0144n", "an\u0301n", "ann\u200b", "ﬀ", "ff", "ß", "ss", "İ", "i",
	"'", `"`, `\`, `a"b`, `a'b`, `a\b`, `a,b`, "a", "b", "{a,b}", "{}", "{ann}", `"ann"`, "NULL", "null", "[]", `["ann"]`, "%", "_", "*",
	"7", "07", "7.0", "7.00", "+7", " 7", "1e3", "1000", "-7", "NaN",
	"a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11", "A0EEBC99-9C0B-4EF8-BB6D-6BB9BD380A11", "a0eebc999c0b4ef8bb6d6bb9bd380a11",
	"true", "t", "日本 🙂", longest[:255], longest[:256], longest[:1019], longest[:1020], longest[:1021], longest[:1023], longest,
}

// Who hears of a row is who is named in it, to the byte.
func TestAnIDIsNobodyElses(t *testing.T) {
	t.Parallel()
	db := newDatabase(t)
	w := newWorld(t, db, 0, seams{authenticate: func(sse.AuthenticateFunc) sse.AuthenticateFunc { return encoded }})
	defer w.close()
	w.exec(`create table owned (n int primary key, txt text, name varchar(2000), pad char(9), num numeric, int int, big bigint, id uuid,
			flag boolean, txts text[], nums numeric[], ids uuid[]);
		select pgbell.attach('owned', array['owned'], audience => array['txt', 'name', 'pad', 'num', 'int', 'big', 'id', 'flag', 'txts', 'nums', 'ids']);
		create table volatile (like owned including all);
		select pgbell.attach('volatile', array['volatile'], audience => array['txt', 'name', 'pad', 'num', 'int', 'big', 'id', 'flag', 'txts', 'nums', 'ids'], durable => false)`)
	for i, user := range readers {
		c := &client{w: w, name: fmt.Sprint("reader ", i), user: user, scopes: []string{"owned", "volatile", "sync", "fence"},
			known: map[want]bool{}, may: map[string]bool{}, encode: encode}
		w.clients = append(w.clients, c)
		c.connect(t, since{})
	}
	type test struct {
		column string
		value  any
		want   []string // in place of value itself
	}
	var tests []test
	for _, id := range append([]string{tooLong, "ann\x01", "ann\n", "nobody"}, readers...) {
		want := []string{id}
		if id == "" || !slices.Contains(readers, id) {
			want = nil
		}
		tests = append(tests, test{"txt", id, want}, test{"name", id, want}, test{"txts", []string{id}, want},
			test{"txts", []*string{nil, &id, new(""), &id}, want})
	}
	for _, column := range []string{"txt", "pad", "num", "int", "id", "flag", "txts", "nums", "ids"} {
		tests = append(tests, test{column, nil, nil})
	}
	uuid := readers[slices.Index(readers, "a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11")]
	tests = append(tests,
		test{"pad", "ann", []string{"ann"}}, test{"pad", "ann  ", []string{"ann"}}, test{"pad", "", nil}, test{"pad", " ann", []string{" ann"}},
		test{"num", "7", []string{"7"}}, test{"num", "7.0", []string{"7.0"}}, test{"num", "+07", []string{"7"}}, test{"num", "1e3", []string{"1000"}}, test{"num", "NaN", []string{"NaN"}},
		test{"int", "7", []string{"7"}}, test{"big", "-7", []string{"-7"}}, test{"flag", "t", []string{"true"}},
		test{"id", strings.ToUpper(uuid), []string{uuid}}, test{"id", "{" + strings.ReplaceAll(uuid, "-", "") + "}", []string{uuid}},
		test{"ids", "{null," + strings.ToUpper(uuid) + "}", []string{uuid}}, test{"nums", "{7.00,null}", []string{"7.00"}},
		test{"txts", "{}", nil}, test{"txts", `{NULL,null}`, nil}, test{"txts", `{"NULL"}`, []string{"NULL"}},
		test{"txts", `{{a,b},{ann,"{a,b}"}}`, []string{"a", "b", "ann", "{a,b}"}}, test{"txts", `[7:8]={a,"a,b"}`, []string{"a", "a,b"}})
	for n, test := range tests {
		for _, table := range []string{"owned", "volatile"} {
			w.exec(fmt.Sprintf("insert into %s (n, %s) values ($1::text::int, $2)", table, test.column), fmt.Sprint(n), test.value)
		}
	}
	w.barrier()
	for _, c := range w.clients {
		c.mu.Lock()
		frames := c.frames
		c.mu.Unlock()
		got := map[string]bool{}
		for _, f := range frames {
			if f.name == "sync" || f.name == "fence" {
				continue
			}
			got[f.name+f.data[strings.Index(f.data, `"key"`):strings.Index(f.data, `,"at"`)]] = true
		}
		for n, test := range tests {
			for _, table := range []string{"owned", "volatile"} {
				heard := got[fmt.Sprintf(`%s"key":{"n":%d}`, table, n)]
				if want := slices.Contains(test.want, c.user); heard != want {
					t.Errorf("%s %.60q in %s: reader %.60q (%d bytes) heard of it: %v, want %v", test.column, fmt.Sprint(test.value), table, c.user, len(c.user), heard, want)
				}
			}
		}
		if len(c.user) > 0 && len(got) == 0 {
			t.Logf("%.60q heard nothing", c.user)
		}
	}
	t.Logf("%d rows, %d readers", 2*len(tests), len(readers))
	for _, id := range []string{tooLong, "ann\x00", "ann\n", "ann\x7f", "ann\u0085", "ann\xff"} {
		c := &client{w: w, user: id, encode: encode}
		status, body, err := c.get("/events", map[string][]string{"scope": {"owned"}})
		if err != nil || status != http.StatusUnauthorized || strings.Contains(body, "ann") {
			t.Errorf("user id %.20q: got %d %s %v, want 401 and not a word of it", id, status, body, err)
		}
	}
}

func encode(user string) string { return base64.StdEncoding.EncodeToString([]byte(user)) }

// encoded is the AuthenticateFunc for ids that encode was applied to.
func encoded(r *http.Request) (sse.Identity, error) {
	id, err := base64.StdEncoding.DecodeString(r.Header.Get("X-Forwarded-User"))
	return sse.Identity{UserID: string(id)}, err
}

// A published event's audience is as exact.
func TestAPublishIsForWhomItNames(t *testing.T) {
	t.Parallel()
	w := newWorld(t, newDatabase(t), 0, seams{authenticate: func(sse.AuthenticateFunc) sse.AuthenticateFunc { return encoded }})
	defer w.close()
	for _, user := range readers {
		c := &client{w: w, name: fmt.Sprintf("%.20q", user), user: user, scopes: []string{"news", "sync", "fence"},
			known: map[want]bool{}, may: map[string]bool{}, encode: encode}
		w.clients = append(w.clients, c)
		c.connect(t, since{})
	}
	x := w.begin(w.db.writer, "")
	x.publish("news", nil)
	x.publish("news", []*string{})
	x.publish("news", []*string{nil, new("")})
	for i := range readers {
		x.publish("news", []*string{nil, &readers[i], new(tooLong)})
	}
	x.commit()
	w.check()
	if len(w.faults) > 0 {
		t.Error(strings.Join(w.faults, "\n"))
	}
	if want := 2*len(readers) - 1; w.events != want { // to each its own, to all that of everyone
		t.Errorf("got %d events, want %d", w.events, want)
	}
}

// A header's outer blanks are no part of its value (RFC 9110, 5.5), and one that is
// there twice is refused. Either way it is not somebody else's.
func TestAHeaderThatIsNoUserIsAnonymousOrRefused(t *testing.T) {
	t.Parallel()
	w := newWorld(t, newDatabase(t), 0, seams{})
	defer w.close()
	for _, test := range []struct {
		header http.Header
		status int
	}{
		{http.Header{"X-Forwarded-User": {"ann"}}, http.StatusOK},
		{http.Header{"X-Forwarded-User": {"\tann "}}, http.StatusOK},
		{http.Header{"X-Forwarded-User": {"ann", "ann"}}, http.StatusUnauthorized},
		{http.Header{"X-Forwarded-User": {"bob", "ann"}}, http.StatusUnauthorized},
		{http.Header{"X-Forwarded-User": {"", "ann"}}, http.StatusUnauthorized},
		{http.Header{"X-Forwarded-User": {"ann,bob"}}, http.StatusForbidden},
		{http.Header{"X-Forwarded-User": {"Ann"}}, http.StatusForbidden},
		{http.Header{"X-Forwarded-User": {" "}}, http.StatusForbidden},
		{http.Header{"X-Forwarded-Users": {"ann"}}, http.StatusForbidden},
		{http.Header{"X_Forwarded_User": {"ann"}}, http.StatusForbidden},
		{http.Header{"X-User": {"ann"}, "Authorization": {"Bearer ann"}, "Cookie": {"pgbell_token=ann"}}, http.StatusForbidden},
		{nil, http.StatusForbidden},
	} {
		ctx, cancel := context.WithTimeout(t.Context(), patience)
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, w.servers[0].URL+"/presence?scope=private:1", nil)
		w.must(err)
		req.Header = test.header
		resp, err := w.fast.Do(req)
		w.must(err)
		if resp.StatusCode != test.status {
			t.Errorf("%v: got %d, want %d", test.header, resp.StatusCode, test.status)
		}
		resp.Body.Close()
		cancel()
	}
}
