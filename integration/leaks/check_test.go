package leaks

import (
	"slices"
	"strings"

	"github.com/pgbell/pgbell/sse"
)

// check holds what c received since the last time against what was due. The
// connection must be quiet: a barrier was passed, or it is closed.
func (c *client) check() {
	c.mu.Lock()
	frames, raw := c.frames, c.raw
	c.frames = nil
	c.mu.Unlock()
	for _, f := range frames {
		c.w.frames++
		c.w.events += c.frame(f)
	}
	// All bytes, whatever they belong to. A token may have been half there before.
	for _, token := range tokens.FindAllString(string(raw[max(0, c.scanned-20):]), -1) {
		if !c.may[token] {
			c.w.fault("BYTES: %s (user %q) received %s, which was never for it", c.name, c.user, token)
		}
	}
	c.scanned = len(raw)
}

// frame checks one frame, and returns 1 for an event that was due.
func (c *client) frame(f frame) int {
	if !c.asksFor(f.name) {
		c.w.fault("SCOPE: %s (user %q) did not ask for %s: %s", c.name, c.user, f.name, f.data)
		return 0
	}
	d, err := f.content()
	if err != nil {
		c.w.fault("FRAME: %s: %v: %s", c.name, err, f.data)
		return 0
	}
	if d.Op == "reset" {
		c.w.resets++
		if d.tellsOfRow() || d.Reason == "" {
			c.w.fault("RESET: %s: a reset tells of a row, or not why: %s", c.name, f.data)
		}
		if d.Reason == sse.ReasonGroups && !c.touched {
			c.w.fault("RESET: %s (user %q): nobody changed its groups: %s", c.name, c.user, f.data)
		}
		c.reset(f.name, d.Reason)
		return 0
	}
	if f.name == "sync" || f.name == "fence" {
		return 0
	}
	w := want{f.name, d.shape()}
	if i := slices.IndexFunc(c.pending, func(o owed) bool { return o.want == w }); i >= 0 {
		c.pending = slices.Delete(c.pending, i, i+1)
		return 1
	}
	if !c.known[w] {
		c.w.fault("DUE: %s (user %q, origin %q) got at %s what is not due to it: %s", c.name, c.user, c.origin, f.name, w.shape)
	}
	c.w.repeats++
	return 0
}

// reset takes what was due at scope for told. The reset of a TRUNCATE tells only what
// came before it, but where a queue is short it may stand for any. That groups changed,
// only a reset tells that says so.
func (c *client) reset(scope, reason string) {
	upto := len(c.w.history)
	if reason == "truncate" && c.w.queue == 0 {
		upto = -1 // if it is not due: it came again
		for _, o := range slices.Backward(c.pending) {
			if o.scope == scope && o.shape.op == anyReset {
				upto = o.at
			}
		}
	}
	c.pending = slices.DeleteFunc(c.pending, func(o owed) bool {
		groups := o.shape.op == groupsReset && reason != sse.ReasonGroups && c.w.queue == 0
		return o.scope == scope && o.at <= upto && !groups
	})
}

// lost finds what was due and did not come.
func (c *client) lost() {
	for _, w := range c.pending {
		c.w.fault("LOST: %s (user %q) was not told at %s: %s", c.name, c.user, w.scope, w.shape)
	}
	c.pending = nil
}

// presence asks who is at scope, as c's user, and checks the answer.
func (c *client) presence(scope string) {
	w := c.w
	status, body, err := c.get("/presence", map[string][]string{"scope": {scope}})
	switch {
	case err != nil:
		w.fault("PRESENCE: %v", err)
	case !mayAsk(c.user, scope):
		if status != 403 || strings.Contains(body, "session_id") || strings.Contains(body, "connected_at") {
			w.fault("PRESENCE: %s (user %q) may not ask for %s and got %d %s", c.name, c.user, scope, status, body)
		}
	default:
		c.present(scope, status, body)
	}
}

// present checks an answer that c's user may have.
func (c *client) present(scope string, status int, body string) {
	var users []string // who is there, and at most who has been
	for _, o := range c.w.clients {
		if o.asksFor(scope) {
			users = append(users, o.user)
			if o.conn != nil && o.server == c.server && !strings.Contains(body, `"user_id":`+asJSON(o.user)) {
				c.w.fault("PRESENCE: %q is at %s, but not in %s", o.user, scope, body)
			}
		}
	}
	for _, o := range c.w.clients {
		if !slices.Contains(users, o.user) && strings.Contains(body, `"user_id":`+asJSON(o.user)+",") {
			c.w.fault("PRESENCE: %q was never at %s: %s", o.user, scope, body)
		}
	}
	if status != 200 || tokens.MatchString(body) && !tokens.MatchString(scope) {
		c.w.fault("PRESENCE: of %s: %d %s", scope, status, body)
	}
}
