package integration

import (
	"fmt"
	"strings"
	"testing"
)

// A copy of a table may have its triggers: of a dump, of part of one, made by hand. The
// functions are another table's then, or of one that isn't there: they do nothing, and
// no write fails.
func TestTriggerOfACopyDoesNothing(t *testing.T) {
	d := newTriggerDB(t)
	const columns = `(id int primary key, p int, owner text, note text)`
	for _, partition := range []string{"", " partition by list (id)"} {
		for _, name := range []string{"t", "copied"} {
			d.exec(fmt.Sprintf(`create table %s %s %s`, name, columns, partition))
			if partition != "" {
				d.exec(fmt.Sprintf(`create table %s_rest partition of %[1]s default`, name))
			}
		}
		d.exec(`select pgbell.attach('t', array['t', 'p:{p}'], audience => array['owner'], payload => array['note'])`)
		for _, trigger := range d.column(`select pg_get_triggerdef(oid) from pg_trigger where tgrelid = 't'::regclass and tgname like 'pgbell%'`) {
			d.exec(strings.Replace(trigger, " ON public.t ", " ON public.copied ", 1))
		}
		writes := func(table string) string {
			return fmt.Sprintf(`insert into %[1]s values (1, 1, 'ann', 'x'); insert into %[1]s select g, 1, 'ann', 'x' from generate_series(2, 9) g;
				update %[1]s set p = 2 where id = 1; update %[1]s set note = 'y', owner = 'bob'; delete from %[1]s where id = 1; delete from %[1]s; truncate %[1]s`, table)
		}
		d.expect(writes("copied"))
		if got := len(d.hear(writes("t"))); got < 20 {
			t.Errorf("of the table itself: %d events", got)
		}
		// Restored elsewhere, the functions are of a table that is not there.
		for _, function := range d.column(`select distinct pg_get_functiondef(tgfoid) from pg_trigger where tgrelid = 't'::regclass and tgname like 'pgbell%'`) {
			d.exec(strings.ReplaceAll(function, d.ask(`'t'::regclass::oid`), "4000000000"))
		}
		d.exec(`discard plans`)
		d.expect(writes("t"))
		d.expectOn(d.connect(), writes("t"))
		d.exec(`drop table t, copied`)
	}
}
