// Package faults breaks pgbell, its database and the way between them while
// writers write and clients read, and checks that no client was left with less
// than the database holds, nor was shown what it may not see.
//
// The program is the real one: `pgbell serve` as a process, PostgreSQL as another,
// clients on raw TCP. The checker knows each change that was committed, from a
// ledger that the writers keep in the same transactions, and each frame that
// arrived: see [check].
//
// What is random comes from -seed, which each failure prints. -soak makes
// TestSoak run for as long as told.
package faults
