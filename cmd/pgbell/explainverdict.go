package main

import (
	"fmt"
	"slices"
	"strings"

	"github.com/pgbell/pgbell/bus"
	"github.com/pgbell/pgbell/sse"
)

// judge says whether the user would hear of a change, or anybody if the question names no
// user, and finds the frame.
func (e *explanation) judge(source *asGroups) {
	e.note()
	e.Reasons = append(e.Reasons, e.unheard(source)...)
	e.Hears = len(e.Reasons) == 0
	if e.Hears && e.User != nil && !e.resets() && e.Audience != nil && !e.Audience.Allows(*e.User) {
		e.By = slices.DeleteFunc(e.Audience.Groups(), func(g string) bool { return !slices.Contains(e.Groups, g) })
	}
	for _, event := range e.events {
		if event.Audience.Nobody() || e.Hears && !e.allows(event) {
			continue
		}
		e.Frame, _ = sse.Frame(e.row.Cursor, event) // its JSON has been read already
		break
	}
}

// allows says whether the user may see an event, or anybody if the question names none.
func (e *explanation) allows(event bus.ChangeEvent) bool {
	if e.User == nil {
		return !event.Audience.Nobody()
	}
	return event.Audience.Allows(*e.User, e.Groups...)
}

// unheard says why the user would not hear of a change; nothing if the user would.
func (e *explanation) unheard(source *asGroups) []string {
	switch {
	case !e.Exists:
		return []string{"there is no such row, or you may not see it: what the DELETE of a row said can't be told afterwards"}
	case len(e.row.Silent) == 3:
		return []string{"no trigger fires: " + e.State}
	case e.resets(): // all subscribers get a reset
		return nil
	case len(e.events) == 0:
		return []string{"no scope exists for this row"}
	case !slices.ContainsFunc(e.events, e.allows):
		return append([]string{e.notInAudience()}, e.notInGroup(source)...)
	}
	forbidden := func(s scopeExplained) bool { return s.forbidden || s.Scope == "" }
	if e.User != nil && !slices.ContainsFunc(e.Scopes, func(s scopeExplained) bool { return !forbidden(s) }) {
		return []string{"the server lets " + e.who() + " subscribe to none of its scopes"}
	}
	return nil
}

func (e *explanation) notInAudience() string {
	var words []string
	for _, o := range e.Owners {
		if o.Why != "" {
			words = append(words, o.Why)
		} else {
			words = append(words, o.Column+" is "+strings.Join(slices.Concat(o.Users, o.Groups), ", "))
		}
	}
	if len(words) == 0 {
		words = []string{"the feed's audience is no column at all"}
	}
	if e.Audience.Nobody() {
		return "nobody is in the audience: " + strings.Join(words, "; ")
	}
	return e.who() + " is not in the audience: " + strings.Join(words, "; ")
}

// notInGroup says what the user lacks to hear by a group, if the audience has some.
func (e *explanation) notInGroup(source *asGroups) []string {
	groups := e.Audience.Groups()
	switch {
	case len(groups) == 0 || e.User == nil:
		return nil
	case e.Groups == nil:
		e.unsure = true
		return []string{source.unknown()}
	case len(e.Groups) == 0:
		return []string{e.who() + " is in no group"}
	}
	return []string{fmt.Sprintf("%s is in no group of: %s; %[1]s is in: %[3]s", e.who(), strings.Join(groups, ", "), strings.Join(e.Groups, ", "))}
}

// findSubscribers says whether somebody who would hear is subscribed. If others are,
// perhaps the server takes the user for somebody else.
func (e *explanation) findSubscribers() {
	if !e.Hears || e.resets() || e.ServerError != "" {
		return
	}
	subscribed, unknown, anonymous := false, false, false
	for _, s := range e.Scopes {
		unknown = unknown || s.Refused != ""
		for _, c := range s.Connections {
			if e.User != nil {
				subscribed = subscribed || c.UserID == *e.User
			} else {
				subscribed = subscribed || e.Audience == nil || e.Audience.Allows(c.UserID)
			}
			anonymous = anonymous || c.UserID == ""
		}
	}
	unknown = unknown || e.User == nil && e.Audience != nil && len(e.Audience.Groups()) > 0 // who is in them
	if subscribed || !unknown {
		e.Subscribed = &subscribed
	}
	switch {
	case subscribed || !anonymous:
	case e.User == nil:
		e.Notes = append(e.Notes, "somebody anonymous is subscribed: if that should be somebody in the audience, see the server's --auth and --trusted-proxies")
	default:
		e.Notes = append(e.Notes, fmt.Sprintf("nobody is subscribed as %s, but somebody anonymous is: if that should be %[1]s, see the server's --auth and --trusted-proxies", *e.User))
	}
}

// resets says whether each change is a reset, which all get who listen.
func (e *explanation) resets() bool { return e.row.Drifted || e.row.TooMany }

// verdict is the answer in one sentence.
func (e *explanation) verdict() (colour, string) {
	absent := e.Subscribed != nil && !*e.Subscribed
	silent := strings.ToUpper(strings.Join(e.row.Silent, " or "))
	switch {
	case !e.Hears && e.User == nil:
		return red, "nobody would hear of a change of it"
	case e.unsure:
		return yellow, "whether " + e.who() + " would hear of a change of it can't be told"
	case !e.Hears:
		return red, e.who() + " would not hear of a change of it"
	case e.resets():
		return yellow, e.who() + " would hear of a change, but only by a reset"
	case absent && e.User == nil && e.Audience == nil:
		return yellow, "everyone may hear of it, but nobody is subscribed on this server"
	case absent && e.User == nil:
		return yellow, "whoever is in the audience may hear of it, but none of them is subscribed on this server"
	case absent:
		return yellow, e.who() + " may hear of it" + e.byGroup() + ", but is subscribed to none of its scopes on this server"
	case silent != "" && e.User == nil:
		return yellow, "a change of it is heard, but no " + silent
	case silent != "":
		return yellow, e.who() + " would hear of a change of it" + e.byGroup() + ", but of no " + silent
	case e.User == nil:
		return green, "a change of it is heard"
	}
	return green, e.who() + " would hear of a change of it" + e.byGroup()
}

// byGroup names the groups by which alone the user hears.
func (e *explanation) byGroup() string {
	switch len(e.By) {
	case 0:
		return ""
	case 1:
		return ", by group " + e.By[0]
	}
	return ", by groups " + strings.Join(e.By, ", ")
}

// note says what else decides whether a change is heard.
func (e *explanation) note() {
	add := func(format string, args ...any) { e.Notes = append(e.Notes, fmt.Sprintf(format, args...)) }
	if e.row.Drifted {
		add("the table is not what it was when it was attached: instead of a change, each write sends a reset of all its scopes to everybody there (%s)", e.State)
	} else if e.State != "ok" {
		add("the feed is not ok: %s", e.State)
	}
	if e.row.TooMany {
		add("the row's audience is too large to look at: instead of a change, each write of the row sends a reset of all the feed's scopes to everybody there")
	}
	if n := len(e.row.Silent); n > 0 && n < 3 {
		add("nothing is heard of its %s: no trigger fires", strings.ToUpper(strings.Join(e.row.Silent, " or ")))
	}
	if columns := e.row.Feed.Columns; columns != nil {
		add("an UPDATE counts only if it changes %s, or the row's scopes, audience or key", listWords(columns, "", "nothing"))
	}
	if !e.Durable {
		add("the feed is not durable: any role that can connect can read this row's key and audience, and forge its events; what happens while no server listens becomes a reset")
	}
}
