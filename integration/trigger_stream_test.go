package integration

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/pgbell/pgbell/journal"
)

// frame is one of a stream that has an event; stream reads them, and fails the test
// at what is none.
type frame struct{ event, id, data string }

type stream struct {
	t     *testing.T
	lines *bufio.Scanner
}

func openStream(t *testing.T, srv *httptest.Server, query url.Values) *stream {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Minute)
	t.Cleanup(cancel)
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, srv.URL+"/events?"+query.Encode(), nil)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := srv.Client().Do(req)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { resp.Body.Close() })
	if resp.StatusCode != http.StatusOK {
		t.Fatal(resp.Status)
	}
	s := &stream{t, bufio.NewScanner(resp.Body)}
	s.lines.Buffer(nil, 1<<20)
	s.lines.Split(anyLine)
	s.until(`"cursor"`) // ready
	return s
}

// anyLine ends a line where some reader might: the standard's at CR and LF, others
// at U+2028, U+2029 and U+0085, too.
func anyLine(data []byte, atEOF bool) (int, []byte, error) {
	i := bytes.IndexAny(data, "\r\n\u2028\u2029\u0085")
	if i < 0 || data[i] != '\n' && len(data) < i+3 && !atEOF {
		return 0, nil, nil
	}
	if data[i] != '\n' {
		return 0, nil, fmt.Errorf("a line ends by %q", data[i:i+3])
	}
	return i + 1, data[:i], nil
}

var fieldLine = regexp.MustCompile(`^(event|id|data|retry): (.+)$`)

// until returns the frames up to one with text in its data.
func (s *stream) until(text string) (frames []frame) {
	s.t.Helper()
	var f frame
	for s.lines.Scan() {
		line := s.lines.Text()
		m := fieldLine.FindStringSubmatch(line)
		switch {
		case line == "" && f.event != "":
			frames = append(frames, f)
			if strings.Contains(f.data, text) {
				return frames
			}
			f = frame{}
		case line == "", line == ":":
			f = frame{}
		case m == nil:
			s.t.Fatalf("a line of the stream: %q", line)
		case m[1] == "event":
			f.event = m[2]
		case m[1] == "id":
			f.id = m[2]
			if _, err := journal.ParseCursor(f.id); err != nil {
				s.t.Fatalf("an id: %q", f.id)
			}
		case m[1] == "data":
			f.data += m[2]
		}
	}
	s.t.Fatalf("the stream ended before %s: %v", text, s.lines.Err())
	return nil
}
