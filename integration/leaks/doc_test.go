// Package leaks holds pgbell against its second promise: nobody gets a change, a key
// or a value of a row whose audience leaves them out.
//
// A model knows of every version of every row its scopes, its audience and two random
// tokens, one that travels as payload and one that must not; keys hold a token, too.
// It knows who was in which team at each commit: users join, leave and change teams, in
// the transactions that write rows and in others, told by a feed or by pgbell.regroup.
// Random statements, transactions and feeds go to a real PostgreSQL, and through the
// bus, the listener and the handler of two servers, wired as in cmd/pgbell, to clients of
// several users. After each step
//
//   - each frame must be due to its user, to the last field: an update, a leaving, a
//     coming, each with just what the row's audience on that side may know, by the teams
//     as they were once it was committed, or later
//   - the bytes that a user received hold no token but of what was due to that user
//   - a reset tells of no row, no frame is of a scope that was not asked for, and a
//     scope that is refused says not even who is there
//   - who came into a team, or left one, got a reset that says so for each scope, and
//     nobody else did
//   - and what was due arrived, or a reset did
//
// The checks are checked by mutants: a part that breaks one rule on purpose, set in at
// a seam (a record before it is emitted, a replay, the authentication, the answer who is
// in which group, the handler, a trigger's function). Each must be found.
//
// RAPID_CHECKS and -rapid.checks make the search longer, -rapid.seed repeats one.
package leaks
