package triggers

import "github.com/pgbell/pgbell/journal/scope"

// rowGroups says which groups a template names, or why there is none.
func (x *explainer) rowGroups(template string) (RowOwner, error) {
	o := RowOwner{Column: template}
	group, err := scope.ParseGroup(template)
	if err != nil {
		return o, err
	}
	values := make([][]string, len(group.Columns()))
	for i, column := range group.Columns() {
		v, all, why, err := x.ids(column)
		switch {
		case err != nil || why != "":
		case v.null:
			why = column + " is NULL"
		case v.kind == "list" && len(all) == 0:
			why = column + " is empty"
		case len(all) == 0:
			why = column + " is longer than 1024 bytes"
		}
		if err != nil || why != "" {
			o.Why = why
			return o, err
		}
		values[i] = all
	}
	if o.Groups = group.Names(values); len(o.Groups) == 0 {
		o.Why = "no group may have the name that it would have: it is longer than 1024 bytes, begins with a colon, or could be made of other values"
	}
	return o, nil
}
