// Package triggers attaches feeds to tables from Go: it is the Go side of the
// SQL functions pgbell.attach and pgbell.detach and of the view pgbell.feeds.
//
// Attaching and detaching is done by those functions, in the caller's transaction
// if there is one; what it adds is words. Propose and Explain only read. Every server error is kept in the chain
// (errors.As with *pgconn.PgError), with what to do next said in front.
//
// Nothing here holds state: all functions are safe for concurrent use as far as
// the connection given to them is.
package triggers
