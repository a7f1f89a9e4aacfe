// Command bench measures pgbell beside what one would write by hand, and writes the
// table, the figures as JSON and the pictures of docs/performance.md.
//
// There are three contenders, each with a database of its own on one private
// PostgreSQL that flushes to a disk: bare, the table without triggers; naive, a row
// trigger that notifies, and r3labs/sse behind it; pgbell, the real `pgbell serve`,
// the table attached as a durable feed with an audience. They take turns in short
// rounds, so that what else the machine does falls upon all of them; a figure is the
// median of the rounds, or a percentile over all of them.
//
// Servers are processes of their own, whose CPU time and memory are read from /proc.
// Writers in a closed loop are pgbench. Latencies come from an open loop: changes are
// due at times fixed beforehand, with random gaps, and are timed from then, so that a
// writer that has to wait counts (but for the row that says otherwise).
package main
