package leaks

import (
	"fmt"
	"maps"
	"net/url"
	"slices"
	"strings"

	"pgregory.net/rapid"
)

// arrive opens the stream of a new client, from now on or from an earlier cursor.
func (m *machine) arrive(t *rapid.T, user string) {
	c := &client{w: m.world, name: fmt.Sprintf("client %d", len(m.clients)+1), user: user, known: map[want]bool{}, may: map[string]bool{}}
	c.scopes = m.scopes(t)
	if rapid.Bool().Draw(t, "whole tables") {
		for _, tb := range m.tables {
			if !c.asksFor(tb.name) {
				c.scopes = append(c.scopes, tb.name)
			}
		}
	}
	c.scopes = slices.DeleteFunc(c.scopes, func(scope string) bool { return !mayAsk(c.user, scope) })
	c.scopes = append(c.scopes, "sync", "fence")
	c.origin = origins.Draw(t, "origin")
	c.slow = rapid.IntRange(0, 2).Draw(t, "slow") == 0
	for _, scope := range c.scopes { // who asks for a row knows its key
		for _, token := range tokens.FindAllString(scope, -1) {
			c.may[token] = true
		}
	}
	m.clients = append(m.clients, c)
	c.server = rapid.IntRange(0, len(m.servers)-1).Draw(t, "server")
	from, upto := since{}, len(m.history)
	if i := rapid.IntRange(-1, len(m.cursors)-1).Draw(t, "cursor"); i >= 0 {
		from, upto = since{param: m.cursors[i].text}, m.cursors[i].at
	}
	c.learn(upto)
	c.connect(t, from)
}

// scopes draws what a client asks for.
func (m *machine) scopes(t *rapid.T) []string {
	scopes := []string{"docs", "notes", "quick", "parts", "project:1", "project:2", "project:3", "private:1"}
	for _, tb := range m.tables {
		for _, r := range m.rows.sorted(tb) {
			scopes = append(scopes, tb.each+":"+r.ID)
		}
	}
	return rapid.SliceOfNDistinct(rapid.SampledFrom(scopes), 3, 8, rapid.ID[string]).Draw(t, "scopes")
}

// pick draws one of the clients for which f holds.
func (m *machine) pick(t *rapid.T, f func(c *client) bool) *client {
	some := slices.DeleteFunc(slices.Clone(m.clients), func(c *client) bool { return !f(c) })
	if len(some) == 0 {
		t.Skip("there is none")
	}
	return some[rapid.IntRange(0, len(some)-1).Draw(t, "client")]
}

// Arrive lets one more client come.
func (m *machine) Arrive(t *rapid.T) {
	if open := slices.DeleteFunc(slices.Clone(m.clients), func(c *client) bool { return c.conn == nil }); len(open) > 6 {
		t.Skip("enough are there")
	}
	m.arrive(t, rapid.SampledFrom(append(users, "ann", "bob")).Draw(t, "user"))
}

// Leave breaks a client's connection: what it does not read it may yet have back.
func (m *machine) Leave(t *rapid.T) {
	m.pick(t, func(c *client) bool { return c.conn != nil }).disconnect()
}

// Return lets a client come back, with its last id or, at times, with that of
// another user: which must not tell it more than its own would.
func (m *machine) Return(t *rapid.T) {
	c := m.pick(t, func(c *client) bool { return c.conn == nil })
	id := c.lastID
	if rapid.IntRange(0, 4).Draw(t, "with another's id") == 0 {
		other := m.pick(t, func(o *client) bool { return o.user != c.user })
		other.mu.Lock()
		id = other.lastID
		other.mu.Unlock()
		c.learn(len(m.history))
		c.pending = nil // where the other's connection stood, its own did not
	}
	c.learn(0)
	c.server = rapid.IntRange(0, len(m.servers)-1).Draw(t, "server")
	from := since{header: id}
	if rapid.Bool().Draw(t, "by the query") {
		from = since{param: id}
	}
	c.connect(t, from)
}

// Stall lets a client read no more, or lets one go on.
func (m *machine) Stall(t *rapid.T) {
	c := m.pick(t, func(c *client) bool { return c.conn != nil && c.slow })
	if c.conn.stall {
		c.unstall()
		return
	}
	c.stall()
}

// Presence asks who is at a scope.
func (m *machine) Presence(t *rapid.T) {
	c := m.pick(t, func(*client) bool { return true })
	c.presence(rapid.SampledFrom(append(m.scopes(t), "private:1", "private:1", "private:1")).Draw(t, "scope"))
}

// Trespass asks for a stream of a scope that is refused, along with one that is not.
func (m *machine) Trespass(t *rapid.T) {
	c := m.pick(t, func(c *client) bool { return c.user != "ann" })
	status, body, err := c.get("/events", url.Values{"scope": {"docs", "private:1"}})
	if err != nil || status != 403 || tokens.MatchString(body) || !strings.Contains(body, "problem:scope-not-allowed") {
		m.fault("REFUSED: %s (user %q) at private:1: %d %s %v", c.name, c.user, status, body, err)
	}
}

// Disconnect ends a user's streams, or those on one scope, and nobody else's.
func (m *machine) Disconnect(t *rapid.T) {
	c := m.pick(t, func(c *client) bool { return c.conn != nil && c.user != "" })
	var scope *string
	if rapid.Bool().Draw(t, "one scope") {
		scope = &c.scopes[0]
	}
	m.exec("select pgbell.disconnect($1, $2)", c.user, scope)
	for _, o := range m.clients {
		if o.conn != nil && o.user == c.user && (scope == nil || o.asksFor(*scope)) {
			o.unstall()
			if !o.ended() {
				m.fault("DISCONNECT: %s (user %q) stayed at %q", o.name, o.user, o.scopes)
			}
			o.disconnect()
		}
	}
}

// common are actions that take little time, most of them writes.
func (m *machine) common() map[string]func(*rapid.T) {
	actions := map[string]func(*rapid.T){
		"attach": m.Attach, "cursor": m.Cursor, "arrive": m.Arrive, "presence": m.Presence, "trespass": m.Trespass,
		"rush": m.Rush, "regroup 0": m.Regroup, "regroup 1": m.Regroup, "regroup 2": m.Regroup,
	}
	for i := range 9 {
		actions[fmt.Sprint("write ", i)] = m.Write
	}
	for i := range 3 {
		actions[fmt.Sprint("leave ", i)], actions[fmt.Sprint("return ", i)] = m.Leave, m.Return
	}
	return actions
}

// all are the common actions and those that make trouble.
func (m *machine) all() map[string]func(*rapid.T) {
	actions := m.common()
	maps.Copy(actions, map[string]func(*rapid.T){
		"bulk": m.Bulk, "sweep": m.Sweep, "hold": m.Hold, "terminate": m.Terminate, "stall": m.Stall, "disconnect": m.Disconnect,
	})
	return actions
}

// end lets everybody come back and read to the end.
func (m *machine) end(t *rapid.T) {
	for _, c := range m.clients {
		c.unstall()
	}
	for range 2 { // at the first barrier it shows who was cut
		for _, c := range m.clients {
			if c.conn == nil {
				c.learn(0)
				c.connect(t, since{header: c.lastID})
			}
		}
		m.check()
	}
}
