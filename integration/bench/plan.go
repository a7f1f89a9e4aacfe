//go:build linux

package main

import "time"

// plan says how much of everything there is to be.
type plan struct {
	noSync      bool          // PostgreSQL flushes nothing: for tests
	rows        int           // from which writers in a closed loop choose at random: they seldom wait for each other's
	rounds      int           // of a figure that has a target
	curveRounds int           // of one that takes longer, or is only in a picture
	seconds     int           // of a round of pgbench
	each        int           // transactions of each writer, in place of those seconds; 0 for none
	clients     []int         // writers, in the picture; must have those of the rows, 1 and 16
	flushers    int           // writers when a flush is slow
	commits     int           // watched while no server runs
	slices      int           // of time that each kind of statement gets
	slice       time.Duration // which it fills, or is one statement that takes longer
	sessions    int           // whose first write is timed
	lull, burst time.Duration // how long nothing is written, and then much
	bulk        int           // rows of the bulk update
	rates       []int         // changes a second, in the picture; must have those of the rows, 50 and 3,000
	writers     int           // of an open loop, and of what is as in sysbench: 16 at most
	loadRows    int           // for open loops to change, each once in a run
	load        time.Duration // of a round in an open loop
	quiet       time.Duration // without a frame, after which none is expected any more
	events      int           // of the fan-out, 10 a second
	streams     []int         // for memory; the last is how many the fan-out has
	settle      time.Duration // before memory is read; half of it where that is only for the picture
	scopes      int           // each with a stream
	scopesRate  int
	teams       int // of the groups row
	live        livePlan
	backlog     int // changes that a server finds at once
	most        mostPlan
	stalled     stalledPlan
}

type livePlan struct {
	streams, queries, each int // each change touches so many of the queries
	rate                   int // changes a second
}

type mostPlan struct {
	streams int
	first   float64       // events a second at the start
	growth  float64       // a second
	longest time.Duration // of the ramp
	window  time.Duration // in which frames are counted
}

type stalledPlan struct {
	rate, lead, counted int // events a second; how many until the pipes are full; how many then count
}

// full takes less than eighteen minutes on two cores.
var full = plan{
	rows: 10_000, rounds: 5, curveRounds: 2, seconds: 2, clients: []int{1, 4, 16, 64}, flushers: 64, commits: 2000, bulk: 100_000,
	slices: 12, slice: 100 * time.Millisecond, sessions: 150, lull: time.Minute, burst: 2 * time.Second,
	rates: []int{50, 500, 1500, 3000}, writers: 16, loadRows: 100_000, load: 4 * time.Second, quiet: 2 * time.Second,
	events: 60, streams: []int{1000, 2500, 5000, 10_000}, settle: 2 * time.Second,
	scopes: 10_000, scopesRate: 2000, teams: 1000, backlog: 20_000,
	live:    livePlan{streams: 10_000, queries: 1000, each: 5, rate: 50},
	most:    mostPlan{streams: 1000, first: 100, growth: 1.08, longest: 45 * time.Second, window: time.Second},
	stalled: stalledPlan{rate: 150, lead: 1000, counted: 500},
}

// quick shows that the harness works. Its figures mean nothing.
var quick = plan{
	rows: 1000, rounds: 1, curveRounds: 1, each: 1, clients: []int{1, 16}, flushers: 4, commits: 100, bulk: 2000,
	slices: 1, sessions: 3, lull: 100 * time.Millisecond, burst: 100 * time.Millisecond,
	rates: []int{50, 3000}, writers: 4, loadRows: 5000, load: 300 * time.Millisecond, quiet: time.Second,
	events: 5, streams: []int{20, 50}, settle: 100 * time.Millisecond,
	scopes: 50, scopesRate: 200, teams: 10, backlog: 500,
	live:    livePlan{streams: 40, queries: 20, each: 5, rate: 20},
	most:    mostPlan{streams: 20, first: 50, growth: 2, longest: 1500 * time.Millisecond, window: 250 * time.Millisecond},
	stalled: stalledPlan{rate: 1000, lead: 1000, counted: 100},
}
