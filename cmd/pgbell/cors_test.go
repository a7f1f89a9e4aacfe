package main

import (
	"net/http"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestOriginsAreWrittenAsBrowsersDo(t *testing.T) {
	for _, good := range []string{"https://app.example.com", "http://localhost:5173", "https://a.b:8443", "http://[::1]:3000", "https://xn--bcher-kva.example", "capacitor://localhost", "*"} {
		if _, err := crossOrigin([]string{good}); err != nil {
			t.Errorf("%s: %v", good, err)
		}
	}
	for bad, says := range map[string]string{
		"":                                 "empty",
		"https://a.example,":               "empty",
		"null":                             "null is refused",
		"*,https://a.example":              "stands alone",
		"https://*.example.com":            "no patterns",
		"app.example.com":                  "SCHEME://HOST",
		"https://":                         "SCHEME://HOST",
		"https://a:":                       "SCHEME://HOST",
		"https://a:http":                   "SCHEME://HOST",
		"https://a.example/":               "no path: write https://a.example",
		"https://a.example/app":            "no path: write https://a.example",
		"https://a.example?x":              "SCHEME://HOST",
		"https://me@a.example":             "SCHEME://HOST",
		"https://a.example:443":            "write it so",
		"http://a.example:80":              "write it so",
		"HTTPS://A.example":                "https://a.example",
		"http://[0:0:0:0:0:0:0:1]":         "http://[::1]",
		"https://bücher.example":           "xn--",
		"https://a b":                      "SCHEME://HOST",
		"https://a.example https://b.test": "no path",
	} {
		wantError(t, runEnv(t, nil, "serve", "--addr", "127.0.0.1:0", "--cors-origin", bad), 2, "--cors-origin", says)
	}
}

// ask sends a request with headers, and returns the answer without its body.
func ask(t *testing.T, method, url string, header ...string) *http.Response {
	t.Helper()
	resp := send(t, http.DefaultClient, method, url, header...)
	resp.Body.Close()
	return resp
}

// send sends a request with these headers, each name before its value, and leaves the
// answer's body open until the test ends.
func send(t *testing.T, client *http.Client, method, url string, header ...string) *http.Response {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	for i := 0; i < len(header); i += 2 {
		req.Header.Add(header[i], header[i+1])
	}
	resp, err := client.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { resp.Body.Close() })
	return resp
}

// shared are the headers of an answer that are about other origins.
func shared(resp *http.Response) map[string]string {
	found := map[string]string{}
	for name, values := range resp.Header {
		if strings.HasPrefix(name, "Access-Control-") {
			found[strings.TrimPrefix(name, "Access-Control-")] = strings.Join(values, ", ")
		}
	}
	return found
}

func TestPagesOfListedOriginsMayRead(t *testing.T) {
	const page, other, stranger = "https://app.example.com", "http://localhost:5173", "https://evil.example"
	_, server := beginServe(t, "postgres://u@127.0.0.1:1/d", "--cors-origin", page+","+other)
	_, open := beginServe(t, "postgres://u@127.0.0.1:1/d", "--cors-origin", "*")
	_, closed := beginServe(t, "postgres://u@127.0.0.1:1/d")
	read := func(origin string) map[string]string {
		return map[string]string{"Allow-Origin": origin, "Allow-Credentials": "true", "Expose-Headers": "Etag, Pgbell-Cursor, Retry-After"}
	}
	preflight := []string{"Access-Control-Request-Method", "GET", "Access-Control-Request-Headers", "authorization,last-event-id"}
	none := map[string]string{}
	for name, test := range map[string]struct {
		method, url, origin string
		header              []string
		status              int
		want                map[string]string
	}{
		"stream":                     {"GET", server + "/events?scope=a", page, nil, 200, read(page)},
		"stream for the other":       {"GET", server + "/events?scope=a", other, nil, 200, read(other)},
		"presence":                   {"GET", server + "/presence?scope=a", page, nil, 200, read(page)},
		"refusal":                    {"GET", server + "/events", page, nil, 400, read(page)},
		"no origin":                  {"GET", server + "/events?scope=a", "", nil, 200, none},
		"stranger":                   {"GET", server + "/events?scope=a", stranger, nil, 200, none},
		"stranger's refusal":         {"GET", server + "/events", stranger, nil, 400, none},
		"null":                       {"GET", server + "/events?scope=a", "null", nil, 200, none},
		"longer name":                {"GET", server + "/events?scope=a", page + ".evil.example", nil, 200, none},
		"other port":                 {"GET", server + "/events?scope=a", page + ":8443", nil, 200, none},
		"other case":                 {"GET", server + "/events?scope=a", "https://App.example.com", nil, 200, none},
		"other scheme":               {"GET", server + "/events?scope=a", "http://app.example.com", nil, 200, none},
		"metrics":                    {"GET", server + "/metrics", page, nil, 200, none},
		"health":                     {"GET", server + "/healthz", page, nil, 200, none},
		"before a metrics read":      {"OPTIONS", server + "/metrics", page, preflight, 405, none},
		"before, for a stranger":     {"OPTIONS", server + "/events", stranger, preflight, 204, none},
		"before a POST":              {"OPTIONS", server + "/events", page, []string{"Access-Control-Request-Method", "POST"}, 204, none},
		"before saying who it is":    {"OPTIONS", server + "/events", page, append(preflight[:3:3], "x-forwarded-user"), 204, none},
		"everybody":                  {"GET", open + "/events?scope=a", stranger, nil, 200, map[string]string{"Allow-Origin": "*", "Expose-Headers": "Etag, Pgbell-Cursor, Retry-After"}},
		"nobody":                     {"GET", closed + "/events?scope=a", page, nil, 200, none},
		"before, without the option": {"OPTIONS", closed + "/events", page, preflight, 405, none},
		"before": {"OPTIONS", server + "/events?scope=a", page, preflight, 204, map[string]string{"Allow-Origin": page, "Allow-Credentials": "true",
			"Allow-Methods": "GET", "Allow-Headers": "authorization,last-event-id", "Max-Age": "7200"}},
		"before, for everybody": {"OPTIONS", open + "/presence", stranger, preflight, 204, map[string]string{"Allow-Origin": "*",
			"Allow-Methods": "GET", "Allow-Headers": "authorization,last-event-id", "Max-Age": "7200"}},
	} {
		t.Run(name, func(t *testing.T) {
			header := test.header
			if test.origin != "" {
				header = append([]string{"Origin", test.origin}, header...)
			}
			resp := ask(t, test.method, test.url, header...)
			if resp.StatusCode != test.status {
				t.Errorf("got %s, want %d", resp.Status, test.status)
			}
			if diff := cmp.Diff(test.want, shared(resp)); diff != "" {
				t.Errorf("headers (-want +got):\n%s", diff)
			}
			// What is kept for one origin must not be shown to another.
			varies := strings.Contains(strings.Join(resp.Header.Values("Vary"), ","), "Origin")
			if want := !strings.HasPrefix(test.url, closed) && (strings.Contains(test.url, "/events") || strings.Contains(test.url, "/presence")); varies != want {
				t.Errorf("Vary is %q", resp.Header.Values("Vary"))
			}
		})
	}
}

func TestPagesCanReadWhyTheyAreRefused(t *testing.T) {
	const page = "https://app.example.com"
	_, server := beginServe(t, "postgres://u@127.0.0.1:1/d", "--cors-origin", page, "--auth", "header")
	for want, header := range map[int][]string{
		401: {"X-Forwarded-User", "a", "X-Forwarded-User", "b"},
		400: {"Last-Event-ID", "no cursor"},
	} {
		resp := ask(t, "GET", server+"/events?scope=a", append(header, "Origin", page)...)
		if resp.StatusCode != want || shared(resp)["Allow-Origin"] != page {
			t.Errorf("got %s, %v, want %d for %s", resp.Status, shared(resp), want, page)
		}
	}
}
