package main

import (
	"net/http"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/pgbell/pgbell/bus"
	"github.com/pgbell/pgbell/journal"
	"github.com/pgbell/pgbell/listener"
	"github.com/pgbell/pgbell/sse"
	"github.com/pgbell/pgbell/sse/pglive"
)

// lag measures how long changes take from the database to the bus.
type lag struct{ prometheus.Histogram }

func newLag() lag {
	return lag{prometheus.NewHistogram(prometheus.HistogramOpts{
		Name:    "pgbell_emit_lag_seconds",
		Help:    "Time from when a change was written, by the database's clock, to its emission, by this machine's. Includes how long the writer took to commit.",
		Buckets: []float64{.001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 30, 60},
	})}
}

func (l lag) observe(r journal.Record) {
	if !r.At.IsZero() {
		l.Observe(max(0, time.Since(r.At).Seconds()))
	}
}

// metricsHandler serves the state of a server's parts, on a registry of its own.
func metricsHandler(s stats, lag lag) http.Handler {
	build := thisBuild()
	info := prometheus.NewGauge(prometheus.GaugeOpts{
		Name:        "pgbell_build_info",
		Help:        "Always 1; the labels say which build this is.",
		ConstLabels: prometheus.Labels{"version": build.Version, "commit": build.Commit, "goversion": build.Go},
	})
	info.Set(1)
	registry := prometheus.NewRegistry()
	registry.MustRegister(
		collectors.NewGoCollector(),
		collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}),
		info, lag, s,
	)
	return promhttp.HandlerFor(registry, promhttp.HandlerOpts{})
}

// stats collects the Stats of the parts at each scrape, and what was last found out.
type stats struct {
	bus       *bus.Bus
	listener  *listener.Listener
	handler   *sse.Handler
	live      *pglive.Engine // nil keeps no live queries
	history   *history
	feeds     *feedWatch
	retention time.Duration
}

func describeMetric(name, help string, labels ...string) *prometheus.Desc {
	return prometheus.NewDesc("pgbell_"+name, help, labels, nil)
}

var (
	connected     = describeMetric("listener_connected", "1 while the listener is connected and caught up.")
	connections   = describeMetric("listener_connections_total", "How often the listener has connected to Postgres.")
	notifications = describeMetric("listener_notifications_total", "Notifications received.")
	ignored       = describeMetric("listener_notifications_ignored_total", "Notifications that were malformed or of an unknown feed.")
	polling       = describeMetric("listener_polling", "1 while the journal is read every few milliseconds and no writer is asked to ring: it is busy, or --wake=poll.")
	readings      = describeMetric("listener_readings_total", "Readings of the journal.")
	recordsRead   = describeMetric("listener_records_total", "Records read from the journal, or received from feeds that are not durable.")
	queueUsage    = describeMetric("notification_queue_usage_ratio", "How full the server's notification queue is, 0 to 1: a full one makes commits fail. At most a minute old.")
	journalOldest = describeMetric("journal_oldest_seconds", "Age of the oldest change in the journal, 0 if there is none. At most a minute behind.")
	retention     = describeMetric("journal_retention_seconds", "How long the journal keeps a change at least.")
	feedsBy       = describeMetric("feeds", "Feeds by state: ok, faulty, or unknown where pgbell's role may not execute pgbell.state. At most a minute old; absent until they were looked at.", "state")
	journalBytes  = describeMetric("journal_bytes", "Size of the journal on disk, with its indexes. At most a minute old.")
	emitted       = describeMetric("events_emitted_total", "Events emitted onto the bus.")
	delivered     = describeMetric("events_delivered_total", "Deliveries: events, one to each subscription that they were for.")
	dropped       = describeMetric("events_dropped_total", "Deliveries that found a full queue; the subscriber got a reset instead.")
	resets        = describeMetric("scopes_reset_total", "Scopes that had subscribers and were reset for all of them, each as often as it was.")
	subscriptions = describeMetric("subscriptions", "Subscriptions open now.")
	subscribers   = describeMetric("subscribers", "Scopes subscribed to now, each counted once per subscription.")
	scopes        = describeMetric("scopes", "Scopes with a subscriber now.")
	grouped       = describeMetric("subscriptions_in_groups", "Subscriptions open now whose users are in a group.")
	regroups      = describeMetric("regroups_total", "How often somebody's groups were said to be others: once for all that one reading of the journal says.")
	groupsAsked   = describeMetric("groups_asked_total", "Questions that the function of --groups-sql was asked.")
	streams       = describeMetric("streams_open", "Streams open now.")
	streamsLimit  = describeMetric("streams_limit", "Streams that may be open.")
	frames        = describeMetric("frames_written_total", "Events and resets written to streams.")
	cut           = describeMetric("streams_cut_total", "Streams ended because the client did not read.")
	resumes       = describeMetric("resumes_total", "Clients that came back, by the answer: a replay of what they missed, or resets.", "answer")
	liveQueries   = describeMetric("live_queries", "Live queries that are kept fresh.")
	liveResults   = describeMetric("live_results", "Results of live queries that are kept: of a query, arguments and a user each.")
	livePending   = describeMetric("live_results_pending", "Of these, which something happened to that is not told yet, or that fail.")
	liveRuns      = describeMetric("live_runs_total", "Runs of live queries, each for one result.")
	liveStatement = describeMetric("live_statements_total", "Statements that ran live queries, up to a hundred results each.")
	liveChanged   = describeMetric("live_changed_total", "Runs whose result was another than before.")
	liveFailed    = describeMetric("live_failed_total", "Runs that gave no result.")
	refused       = describeMetric("requests_refused_total", "Requests refused, by reason.", "reason")
)

func (s stats) Describe(out chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{
		connected, connections, notifications, ignored, polling, readings, recordsRead, queueUsage, journalBytes, journalOldest, retention, feedsBy,
		emitted, delivered, dropped, resets, subscriptions, subscribers, grouped, regroups, groupsAsked, scopes, streams, streamsLimit, frames, cut, resumes, refused,
		liveQueries, liveResults, livePending, liveRuns, liveStatement, liveChanged, liveFailed,
	} {
		out <- d
	}
}

func (s stats) Collect(out chan<- prometheus.Metric) {
	gauge := func(d *prometheus.Desc, v float64, labels ...string) {
		out <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, v, labels...)
	}
	counter := func(d *prometheus.Desc, v uint64, labels ...string) {
		out <- prometheus.MustNewConstMetric(d, prometheus.CounterValue, float64(v), labels...)
	}
	b, l, h := s.bus.Stats(), s.listener.Stats(), s.handler.Stats()
	truth := func(b bool) float64 {
		if b {
			return 1
		}
		return 0
	}
	gauge(connected, truth(l.Connected))
	gauge(polling, truth(l.Polling))
	counter(readings, l.Readings)
	counter(connections, l.Connections)
	counter(notifications, l.Notifications)
	counter(ignored, l.Ignored)
	counter(recordsRead, l.Records)
	gauge(queueUsage, l.QueueUsage)
	gauge(journalBytes, float64(l.JournalBytes))
	gauge(retention, s.retention.Seconds())
	if seen := s.feeds.last(); !seen.at.IsZero() {
		ok, faulty, unknown := seen.count()
		gauge(feedsBy, float64(ok), "ok")
		gauge(feedsBy, float64(faulty), "faulty")
		gauge(feedsBy, float64(unknown), "unknown")
		age := 0.0
		if !seen.oldest.IsZero() {
			age = max(0, time.Since(seen.oldest).Seconds())
		}
		gauge(journalOldest, age)
	}
	counter(emitted, b.Emitted)
	counter(delivered, b.Delivered)
	counter(dropped, b.Dropped)
	counter(resets, s.history.resetTotal())
	gauge(subscriptions, float64(b.Subscriptions))
	gauge(subscribers, float64(b.Subscribers))
	gauge(grouped, float64(b.Grouped))
	counter(regroups, s.bus.Regroups())
	counter(groupsAsked, h.Groups)
	gauge(scopes, float64(b.Scopes))
	gauge(streams, float64(h.Streams))
	gauge(streamsLimit, float64(h.Limit))
	counter(frames, h.Frames)
	counter(cut, h.Cut)
	counter(resumes, h.Replays, "replay")
	counter(resumes, h.Resets, "reset")
	var live pglive.Stats
	if s.live != nil {
		live = s.live.Stats()
	}
	gauge(liveQueries, float64(live.Queries))
	gauge(liveResults, float64(live.Results))
	gauge(livePending, float64(live.Pending))
	counter(liveRuns, live.Runs)
	counter(liveStatement, live.Statements)
	counter(liveChanged, live.Changed)
	counter(liveFailed, live.Failed)
	for reason, n := range h.Refused {
		counter(refused, n, reason)
	}
}
