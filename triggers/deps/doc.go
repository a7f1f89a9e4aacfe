// Package deps says what a query depends on: of which changes of rows somebody must hear who
// shows its result, and of which not.
//
// # How
//
// Postgres itself resolves the query's names: [Of] makes a temporary function of it with
// begin atomic, reads the parse tree that Postgres keeps of that, and rolls back. Views'
// rules and other such functions are trees, too, and are read where they are used. Nothing
// is parsed here, and nothing is run. Trees are read generically, for they differ between
// versions: a node that isn't known binds nothing, and all that is in it counts.
//
// # What is claimed
//
// For each place where the query reads a table there is a [Scan]. If a change of rows makes
// another result, then for one of the rows there is a scan of its table for which
//
//   - the row as it was, or the row as it became, has the scan's values in all columns of
//     Equals, and in those of Among one of the values that the lookup gave in the snapshot
//     of the first result, and
//   - the row came or went, or one of Columns changed.
//
// A result is the rows, in any order. What depends on the order in which tables happen to be
// stored (limit without an order that tells all rows apart, array_agg without one) isn't
// determined by rows, and so not by this.
//
// # The rules, and why they hold
//
// A column is bound to a value if equalities lead from one to the other that hold whenever
// the row matters.
//
//  1. Equalities are those that a condition joins by AND: where, the ON of joins, and a
//     boolean column by itself. Each is true of a row that passes, so that a row with another
//     value passes nowhere. A null equals nothing, so that this holds for rows that an outer
//     join makes up, too. OR, NOT, CASE and whatever else bind nothing.
//  2. They must mean the same text, for scopes are made of text: equality of integers of any
//     size, uuid, boolean, an enum, date, and text with a deterministic collation. Not of
//     numeric (1.0 is 1.00), char(n) (blanks), citext and other collations (letters), float
//     (-0), timestamps (the session's time zone). See [class].
//  3. The ON of an outer join binds the side that may be null, and not the side that is kept:
//     its rows are in the result whether ON is true or not. That of a full join binds neither.
//     What binds the side that is kept, binds the other one through ON. Where an equality is
//     of the side that may be null, ON holds of both: a null equals nothing, so that no row
//     matters which the join makes up.
//  4. Columns of a subquery, a view or a with query are what its target list has, if that is
//     a column or a value. From the inside to the outside this holds always: all rows that
//     come out have passed its conditions. From the outside to the inside it does only if
//     rows that are left out outside may be left out inside: nothing passes limit, offset,
//     window functions, distinct on. Rows of a group (group by, distinct) have its key in
//     common, so that they are left out together; what an aggregate gives is no column.
//  5. Nothing passes set operations: a column of theirs comes from several places. Their
//     operands are queries of their own.
//  6. A recursive with query binds by what it says itself; what it reads again is read already.
//  7. x in (select y ...), as a condition, binds y to x: other rows don't count. Not so with
//     not in, where one null counts, nor under OR.
//  8. Queries in expressions see what holds of the rows for which they are asked.
//  9. A function with its names resolved (begin atomic, return) is read where it is called,
//     its parameters being what the call gives. Of all others nothing is known: they are
//     [Dependencies.Opaque], unless they are immutable, or a line of their comment says what
//     they read: "pgbell: reads public.tasks, public.users", or "pgbell: reads nothing".
//     Functions behind operators and aggregates are functions. Those of Postgres itself are
//     known by name ([settled], [passing]).
//  10. Row security: the conditions of all policies for reading count as what they read,
//     whoever asks. They bind nothing.
//  11. A partition is told of under the name of its table. Tables that inherit are tables of
//     their own, each with the parent's conditions. Generated columns that are computed when
//     they are read are the columns that they are made of.
//  12. A column counts if the query names it anywhere, but for columns of subqueries that
//     nobody asks for.
//  13. Where no parameter binds a scan, a column of it that is equal to one of a bound scan,
//     its source, is among the values that the source's rows have there: people.id among
//     the owners of the cards of a board. A lookup gives them, a query of the source with
//     all that binds it, and nothing else. Why no change goes unheard: all that binds the
//     source follows from what is equal in each row of the scan that matters. So each of
//     these is beside a row that the lookup reads, and within one state of the tables rows
//     with other values don't matter. From one state to another the lookup gives other values
//     only if a row came, went or changed that the source's own scan tells of: until something
//     is heard, the values are those that were found. What is heard has the query run again,
//     and its lookups with it, in one snapshot. A source may be bound by a lookup itself, up
//     to [maxLookups] deep. None is a table with row security, of which a lookup might see
//     less than a view's owner does, nor a column of dates, whose text is as the session
//     writes it.
//
// What a domain checks can fail a query, and no more. Materialized views, foreign tables, catalogs, temporary tables and system columns (ctid)
// are opaque: no trigger tells when they change.
//
// TestNoChangedResultIsMissed holds all this against random queries and statements, and
// TestOracleFindsEachMutant that against broken rules.
package deps
