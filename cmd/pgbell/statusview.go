package main

import (
	"cmp"
	"fmt"
	"slices"
	"time"

	"github.com/pgbell/pgbell/sse/pglive"
	"github.com/pgbell/pgbell/triggers"
)

// statusView is what the status page shows at a moment. It holds no scope, no key
// and no value of a row.
type statusView struct {
	Version, Database, Uptime string
	Troubles                  []trouble
	Charts                    []chart
	Tables                    []factTable
	Groups                    []group
	Feeds                     []triggers.Feed
	FeedsKnown                bool
	FeedsAge                  string
	Resets                    []resetRow
}

// trouble is something that a person should do something about.
type trouble struct {
	Bad         bool // else it is a warning
	Words, Todo string
}

// factTable is a card of names and values.
type factTable struct {
	ID, Name string
	Facts    []fact
}

type fact struct {
	Name, Value string
	Level       string // "good", "warn" or "bad"; empty: neither
}

type resetRow struct{ At, Ago, Table, Reason, Times, Scopes string }

// view gathers what there is to show.
func (p *statusPage) view() statusView {
	now := time.Now()
	l, h, b, seen := p.listener.Stats(), p.handler.Stats(), p.bus.Stats(), p.feeds.last()
	seconds, resets, moved := p.history.recent()
	users, anonymous, groups := p.grouped(seen.feeds)
	v := statusView{
		Version:  thisBuild().Version,
		Database: p.database,
		Uptime:   roughly(now.Sub(p.started)),
		Charts:   charts(seconds),
		Groups:   groups,
		Feeds:    seen.feeds, FeedsKnown: !seen.at.IsZero(),
	}
	v.Feeds = slices.Clone(v.Feeds)
	slices.SortStableFunc(v.Feeds, func(a, b triggers.Feed) int { // what is wrong comes first
		switch {
		case a.State == "ok" && b.State != "ok":
			return 1
		case a.State != "ok" && b.State == "ok":
			return -1
		}
		return 0
	})
	if age := now.Sub(seen.at); v.FeedsKnown && age > 2*feedsEvery {
		v.FeedsAge = roughly(age)
	}
	ready := ready(p.listener)()
	state := fact{"State", "connected and caught up", "good"}
	if ready != nil {
		state = fact{"State", "not listening: see above", "bad"}
	}
	oldest := "empty"
	if !v.FeedsKnown {
		oldest = "–"
	}
	if !seen.oldest.IsZero() {
		oldest = roughly(now.Sub(seen.oldest))
	}
	lost := uint64(0)
	for _, s := range seconds {
		lost += s.lost
	}
	queue := fact{"Notification queue", fmt.Sprintf("%.1f %% full", 100*l.QueueUsage), grade(l.QueueUsage, queueWarns, queueStops)}
	journal := byteSize(l.JournalBytes)
	if l.CaughtUp.IsZero() { // nothing was read yet
		queue.Value, journal = "–", "–"
	}
	v.Tables = []factTable{
		{"listener", "Listener", []fact{
			state,
			{"Since", since(l.Since), ""},
			{"Connected so far", plural(l.Connections, "time", "times"), ""},
			{"Journal last read", since(l.CaughtUp), ""},
			{"Position", cmp.Or(p.bus.Position(), "–"), ""},
			{"Position last moved", since(moved), ""},
			{"Records read", thousands(l.Records), ""},
			{"Notifications", thousands(l.Notifications) + ", ignored " + thousands(l.Ignored), ""},
		}},
		{"streams", "Streams", []fact{
			{"Open", thousands(uint64(h.Streams)) + " of at most " + thousands(uint64(h.Limit)), grade(float64(h.Streams)/float64(h.Limit), streamsWarn, 1)},
			{"Users", thousands(uint64(users)) + ", and " + plural(uint64(anonymous), "anonymous stream", "anonymous streams"), ""},
			{"In groups", plural(uint64(b.Grouped), "stream", "streams"), ""},
			{"Events emitted", thousands(b.Emitted), ""},
			{"Frames written", thousands(h.Frames), ""},
			{"Dropped for slow clients", thousands(b.Dropped), warnIf(lost > 0)},
			{"Slow clients cut", thousands(h.Cut), warnIf(lost > 0)},
			{"Refused requests", refusedWords(h.Refused), ""},
		}},
		{"database", "Database", []fact{
			queue,
			{"Journal", journal, ""},
			{"Oldest change in it", oldest, ""},
			{"Kept for at least", roughly(p.retention), ""},
		}},
	}
	var faults []pglive.Fault
	if p.live != nil {
		s := p.live.Stats()
		faults = p.live.Faults()
		v.Tables = append(v.Tables, factTable{"lives", "Live queries", []fact{
			{"Kept fresh", plural(uint64(s.Queries), "query", "queries"), warnIf(len(faults) > 0)},
			{"Results", thousands(uint64(s.Results)) + ", pending " + thousands(uint64(s.Pending)), ""},
			{"Runs", thousands(s.Runs) + " in " + plural(s.Statements, "statement", "statements"), ""},
			{"With another result", thousands(s.Changed), ""},
			{"Without a result", thousands(s.Failed), ""},
		}})
	}
	for _, r := range resets {
		v.Resets = append(v.Resets, resetRow{
			r.at.UTC().Format("15:04:05 UTC"), since(r.at), cmp.Or(r.table, "all feeds"), r.reason, thousands(r.times), thousands(r.scopes),
		})
	}
	v.Troubles = troubles(ready, seen, l.QueueUsage, h.Streams, h.Limit, lost)
	for _, f := range faults {
		todo := "It is not kept fresh until that is mended."
		if f.Slow {
			todo = "It may lack an index, or give too many rows."
		}
		v.Troubles = append(v.Troubles, trouble{!f.Slow, "Live query " + f.Name + ": " + f.Words, todo})
	}
	return v
}

// From here on there is something to say.
const (
	queueWarns  = 0.1
	queueStops  = 0.5
	streamsWarn = 0.9
)

func grade(v, warn, bad float64) string {
	switch {
	case v >= bad:
		return "bad"
	case v >= warn:
		return "warn"
	}
	return ""
}

func warnIf(is bool) string {
	if is {
		return "warn"
	}
	return ""
}

// troubles says what is wrong, the worst first, and what to do.
func troubles(ready error, seen feedsSeen, queue float64, streams, limit int, lost uint64) []trouble {
	var all []trouble
	if ready != nil {
		all = append(all, trouble{true, "No changes are heard: " + ready.Error(), "The streams stay open and get what they missed, or a reset."})
	}
	const endIt = "A session that listens sits in a transaction: find the oldest xact_start in pg_stat_activity, and end it."
	if queue >= queueStops {
		all = append(all, trouble{true, fmt.Sprintf("The notification queue is %.0f %% full: durable feeds have stopped ringing, and once it is full, commits that notify fail.", 100*queue), endIt})
	} else if queue >= queueWarns {
		all = append(all, trouble{false, fmt.Sprintf("The notification queue is %.0f %% full.", 100*queue), endIt})
	}
	_, faulty, unknown := seen.count()
	if faulty > 0 {
		all = append(all, trouble{false, plural(uint64(faulty), "feed is", "feeds are") + " not in order.", "The table of feeds says why."})
	}
	if unknown > 0 {
		all = append(all, trouble{false, "The state of the feeds is not known.", "As the owner of schema pgbell: grant execute on function pgbell.state(pgbell.feed) to " + seen.role + ";"})
	}
	if float64(streams) >= streamsWarn*float64(limit) {
		all = append(all, trouble{streams >= limit, fmt.Sprintf("%d of %d streams are open.", streams, limit), "Start another server, or raise --max-connections."})
	}
	if lost > 0 {
		all = append(all, trouble{false, "Clients were too slow in the last minutes, and got a reset or were cut.", "Look at their network, or have them ask for coalesce=200ms."})
	}
	return all
}

// refusedWords names the reasons, the most frequent first.
func refusedWords(by map[string]uint64) string {
	var reasons []string
	for reason, n := range by {
		if n > 0 {
			reasons = append(reasons, reason)
		}
	}
	slices.SortFunc(reasons, func(a, b string) int { return cmp.Or(cmp.Compare(by[b], by[a]), cmp.Compare(a, b)) })
	words := ""
	for _, reason := range reasons {
		words += ", " + thousands(by[reason]) + " " + reason
	}
	if words == "" {
		return "none"
	}
	return words[2:]
}
