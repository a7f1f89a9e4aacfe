package journal

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"sync"

	"github.com/jackc/pgx/v5"

	"github.com/pgbell/pgbell/journal/scope"
)

// version is that of pgbell.schema_version(): which facts there are, and how they are
// recorded.
const version = 1

// spec is a feed's definition at a time: what the facts mean that were recorded under
// it. It is not changed once made.
type spec struct {
	templates  []scope.Template // of all scopes, for resets
	scopes     []template
	everyone   bool // may hear
	owners     []owner
	regroup    int // field of the users whose groups a row says; -1: there is none
	key        []member
	payload    []member
	kinds      []string // of the fields that are recorded of a row
	changed    int      // how many names of columns an update's facts have, or a null in place of each
	deferrable bool     // two rows may have the same key for a while
}

// template is a scope template, and the fields that its columns are.
type template struct {
	scope.Template
	fields []int
}

// owner is an element of the audience: a column of users, or a template of groups.
type owner struct {
	fields []int
	group  *scope.Group // nil: one field, of users
}

// member is a column that becomes a member of a JSON object.
type member struct {
	name string // as JSON
	json int    // field that is its JSON; -1: there is none
	text int    // field that is its text, of which JSON can be made; -1: there is none
}

// wireSpec is a spec as pgbell.define writes it.
type wireSpec struct {
	Version    int         `json:"version"`
	Scopes     []string    `json:"scopes"`
	Audience   *[]string   `json:"audience"`
	Regroup    *string     `json:"regroup"`
	Key        []string    `json:"key"`
	Payload    []string    `json:"payload"`
	Fields     [][2]string `json:"fields"` // name and kind
	Columns    int         `json:"columns"`
	Deferrable bool        `json:"deferrable"`
}

// parseSpec reads the text of a definition.
func parseSpec(text []byte) (*spec, error) {
	var wire wireSpec
	if err := json.Unmarshal(text, &wire); err != nil {
		return nil, fmt.Errorf("definition of a feed: %w", err)
	}
	if wire.Version != version {
		return nil, fmt.Errorf("definition of a feed: %w", versionError(wire.Version))
	}
	if wire.Columns < 0 || len(wire.Fields) == 0 {
		return nil, errMissingField
	}
	s := &spec{everyone: wire.Audience == nil, changed: wire.Columns, deferrable: wire.Deferrable, regroup: -1}
	for _, f := range wire.Fields {
		s.kinds = append(s.kinds, f[1])
	}
	// field returns the number of the field that has a column in one of these kinds.
	field := func(column string, kinds ...string) int {
		return slices.IndexFunc(wire.Fields, func(f [2]string) bool { return f[0] == column && slices.Contains(kinds, f[1]) })
	}
	var err error
	if s.templates, err = scope.ParseAll(wire.Scopes); err != nil {
		return nil, fmt.Errorf("definition of a feed: %w", err)
	}
	for _, t := range s.templates {
		made := template{Template: t}
		for _, column := range t.Columns() {
			made.fields = append(made.fields, field(column, textKinds...))
		}
		if slices.Contains(made.fields, -1) {
			return nil, errMissingField
		}
		s.scopes = append(s.scopes, made)
	}
	// users returns the number of the field that has a column's users, or groups.
	users := func(column string) int {
		if list := field(column, kindList); list >= 0 {
			return list
		}
		return field(column, textKinds...)
	}
	if wire.Audience != nil {
		for _, element := range *wire.Audience {
			columns, o := []string{element}, owner{}
			if scope.IsGroup(element) {
				group, err := scope.ParseGroup(element)
				if err != nil {
					return nil, fmt.Errorf("definition of a feed: %w", err)
				}
				columns, o.group = group.Columns(), &group
			}
			for _, column := range columns {
				o.fields = append(o.fields, users(column))
			}
			if slices.Contains(o.fields, -1) {
				return nil, errMissingField
			}
			s.owners = append(s.owners, o)
		}
	}
	if wire.Regroup != nil {
		if s.regroup = users(*wire.Regroup); s.regroup < 0 {
			return nil, errMissingField
		}
	}
	for i, columns := range [][]string{wire.Key, wire.Payload} {
		for _, column := range columns {
			m := member{name: string(quoted(nil, column)), json: field(column, kindJSON), text: -1}
			if i == 0 { // a key has no column that is left out
				m.text = field(column, textKinds...)
			}
			if m.json < 0 && m.text < 0 {
				return nil, errMissingField
			}
			if i == 0 {
				s.key = append(s.key, m)
			} else {
				s.payload = append(s.payload, m)
			}
		}
	}
	return s, nil
}

var errMissingField = fmt.Errorf("definition of a feed: a column is not among its fields")

// ErrVersion says that the schema in the database is of another version than this
// program reads.
var ErrVersion = fmt.Errorf("this pgbell reads version %d", version)

// versionError says what to do about another version.
func versionError(found int) error {
	if found > version {
		return fmt.Errorf("schema pgbell is of version %d, and %w: upgrade pgbell", found, ErrVersion)
	}
	return fmt.Errorf("schema pgbell is of version %d, and %w: run pgbell migrate", found, ErrVersion)
}

// Definitions knows what the facts in a journal mean. The zero value knows nothing
// yet. All methods may be called from any goroutine.
type Definitions struct {
	mu    sync.RWMutex
	specs map[int32]*spec
}

// Load reads all definitions that db has, once it has checked that its schema is of the
// version that this program reads.
func (d *Definitions) Load(ctx context.Context, db Querier) error {
	rows, err := db.Query(ctx, "select pgbell.schema_version(), null::pg_catalog.int4, null::pg_catalog.bytea union all select null, id, pgbell.utf8(spec::pg_catalog.text) from pgbell.definition")
	if err != nil {
		return err
	}
	specs := map[int32]*spec{}
	var (
		schema, id *int32
		text       []byte
	)
	_, err = pgx.ForEachRow(rows, []any{&schema, &id, &text}, func() error {
		if schema != nil {
			if *schema != version {
				return versionError(int(*schema))
			}
			return nil
		}
		if text == nil { // it can't be said in UTF8
			return nil
		}
		s, err := parseSpec(text)
		if !errors.Is(err, ErrVersion) { // else it is left from before an upgrade: its facts can't be read
			specs[*id] = s
			return err
		}
		return nil
	})
	if err != nil {
		return err
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.specs = specs
	return nil
}

// learn adds a definition that came with a record of the journal.
func (d *Definitions) learn(id int32, text []byte) error {
	s, err := parseSpec(text)
	if err != nil {
		return err
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.specs == nil {
		d.specs = map[int32]*spec{}
	}
	d.specs[id] = s
	return nil
}

func (d *Definitions) get(id int32) *spec {
	d.mu.RLock()
	defer d.mu.RUnlock()
	return d.specs[id]
}
