package main

import (
	"context"
	"errors"
	"net/http"
	"net/url"
	"slices"
)

// STAND-IN FOR A REAL LOGIN. Here anybody may say who they are, and the cookie is
// believed as it comes. In your app signedIn looks up your session.

// user is somebody who can own tasks.
type user struct{ ID, Name string }

var users = []user{{"ann@example.com", "Ann"}, {"bob@example.com", "Bob"}, {"zoë@example.com", "Zoë"}}

const cookieName = "board_user"

// signedIn returns who sent r.
func signedIn(r *http.Request) (user, error) {
	cookie, err := r.Cookie(cookieName)
	if err != nil {
		return user{}, errors.New("not signed in")
	}
	id, _ := url.QueryUnescape(cookie.Value)
	return known(id)
}

// known returns the user with an id.
func known(id string) (user, error) {
	if i := slices.IndexFunc(users, func(u user) bool { return u.ID == id }); i >= 0 {
		return users[i], nil
	}
	return user{}, errors.New("no such user")
}

type userKey struct{}

// asking returns who sent r, which went through onlyUsers.
func asking(r *http.Request) user { return r.Context().Value(userKey{}).(user) }

// onlyUsers lets those in who are signed in, and shows the others the login.
func (b *board) onlyUsers(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		u, err := signedIn(r)
		switch {
		case err == nil:
			next.ServeHTTP(w, r.WithContext(context.WithValue(r.Context(), userKey{}, u)))
		case r.Header.Get("HX-Request") == "true":
			w.Header().Set("HX-Refresh", "true") // the whole page, not a login form in place of a list
			w.WriteHeader(http.StatusUnauthorized)
		default:
			b.render(w, r, http.StatusUnauthorized, "login", users)
		}
	})
}

// login makes the browser one of the users.
func (b *board) login(w http.ResponseWriter, r *http.Request) {
	u, err := known(r.FormValue("user"))
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	http.SetCookie(w, &http.Cookie{
		Name: cookieName, Value: url.QueryEscape(u.ID), Path: "/", HttpOnly: true, SameSite: http.SameSiteLaxMode,
	})
	http.Redirect(w, r, home(r.FormValue("htmx")), http.StatusSeeOther)
}

// logout also ends the user's streams, in other tabs and browsers too: a stream asks who is there only when it begins.
func (b *board) logout(w http.ResponseWriter, r *http.Request) {
	if u, err := signedIn(r); err == nil {
		if _, err := b.db.Exec(r.Context(), "select pgbell.disconnect($1)", u.ID); err != nil {
			b.fail(w, err)
			return
		}
	}
	http.SetCookie(w, &http.Cookie{Name: cookieName, Path: "/", MaxAge: -1})
	http.Redirect(w, r, home(r.FormValue("htmx")), http.StatusSeeOther)
}

// home is the board's address for a version of htmx.
func home(htmx string) string {
	if htmx != "htmx2" {
		htmx = "htmx4"
	}
	return "/" + htmx + "/"
}
