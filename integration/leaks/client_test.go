package leaks

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"sync"
)

// want is a frame that is due at a scope. shape.op is anyReset, or groupsReset, where no
// event will do.
type want struct {
	scope string
	shape shape
}

// owed is what is due by a change, with the place of that in the history.
type owed struct {
	want
	at int
}

// client is a user's view of some scopes, over any number of connections.
type client struct {
	w      *world
	name   string
	user   string
	scopes []string
	origin string                   // whose changes it leaves out
	slow   bool                     // takes little at a time, so that it can be stalled
	encode func(user string) string // for ids that no header holds; nil leaves them as they are

	// Of the machine's goroutine.
	conn    *conn // nil while away
	server  int   // of the world's, to which it is connected or was last
	learnt  int   // how many changes of the history it was told of
	passed  int   // how many of them can't come any more, since they were checked by this connection
	touched bool  // its user was regrouped, and a reset for that may come
	pending []owed
	known   map[want]bool   // all that was ever due
	may     map[string]bool // tokens that it may have seen
	scanned int             // bytes of raw that were looked at

	mu     sync.Mutex
	raw    []byte // all that ever came
	frames []frame
	lastID string
	fenced fences
}

// fences are the numbers that arrived last at the scopes sync and fence. lost says
// that a reset came in place of one.
type fences struct {
	sync, fence int
	lost        bool
}

// Write takes the bytes that came.
func (c *client) Write(p []byte) (int, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.raw = append(c.raw, p...)
	return len(p), nil
}

// request returns what asks for path as c's user.
func (c *client) request(ctx context.Context, path string, query url.Values, header string) (*http.Request, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, c.w.servers[c.server].URL+path+"?"+query.Encode(), nil)
	if err != nil {
		return nil, err
	}
	switch {
	case c.encode != nil:
		req.Header.Set("X-Forwarded-User", c.encode(c.user))
	case c.user != "":
		req.Header.Set("X-Forwarded-User", c.user)
	}
	// No proxy has made it: nobody believes it.
	req.Header.Set("X-Forwarded-Groups", "team:1,team:2,team:3,team:ann,team:bob,ann,bob")
	if header != "" {
		req.Header.Set("Last-Event-ID", header)
	}
	return req, nil
}

// learn tells c of the changes since it was last told. Those from on are due.
func (c *client) learn(from int) {
	for ; c.learnt < len(c.w.history); c.learnt++ {
		change := c.w.history[c.learnt]
		if change.regroup != nil {
			c.regrouped(change.regroup, c.learnt >= from)
			continue
		}
		for _, w := range c.due(change, change.teams) {
			if c.learnt >= from {
				c.pending = append(c.pending, owed{w, c.learnt})
			}
		}
	}
}

// due returns what c is due of a change by a membership, and notes that it may come.
func (c *client) due(change *change, by teams) (all []want) {
	for _, scope := range c.scopes {
		for _, s := range change.due(c.user, scope, by) {
			for _, token := range tokens.FindAllString(s.String(), -1) {
				c.may[token] = true
			}
			if c.origin == "" || s.origin != c.origin {
				c.known[want{scope, s}] = true
				all = append(all, want{scope, s})
			}
		}
	}
	return all
}

// regrouped notes a change of memberships: what was committed before and is not told yet
// may be told by it.
func (c *client) regrouped(r *regroup, due bool) {
	if !r.all && !r.users[c.user] || c.user == "" {
		return
	}
	c.touched = true
	if slices.Equal(r.before[c.user], r.after[c.user]) {
		return
	}
	for _, scope := range c.scopes {
		if due {
			c.pending = append(c.pending, owed{want{scope, shape{op: groupsReset}}, c.learnt})
		}
	}
	for _, earlier := range c.w.history[min(c.passed, c.learnt):c.learnt] {
		if earlier.regroup == nil {
			c.due(earlier, r.after)
		}
	}
}

var errStatus = errors.New("unexpected status")

// get returns the answer to a request that is no stream.
func (c *client) get(path string, query url.Values) (status int, body string, err error) {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	req, err := c.request(ctx, path, query, "")
	if err != nil {
		return 0, "", err
	}
	resp, err := c.w.fast.Do(req)
	if err != nil {
		return 0, "", err
	}
	defer resp.Body.Close()
	if resp.StatusCode == http.StatusOK && path == "/events" {
		return resp.StatusCode, "", fmt.Errorf("%w: a stream", errStatus)
	}
	var b bytes.Buffer
	_, err = b.ReadFrom(resp.Body)
	return resp.StatusCode, b.String(), err
}

func (c *client) asksFor(scope string) bool { return slices.Contains(c.scopes, scope) }
