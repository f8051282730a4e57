package api

import (
	"context"

	"kubevirt-shepherd.io/shepherd/internal/domain"
)

// Me is who sends the request.
type Me struct {
	ID          string `json:"id" format:"uuid"`
	Username    string `json:"username" example:"li-wei"`
	DisplayName string `json:"display_name,omitempty" example:"Li Wei"`
	Roles       []Role `json:"roles"`
	Token       *Token `json:"token,omitempty" doc:"The token that the request showed."`
}

// Token is what a program signed in with.
type Token struct {
	ID     string   `json:"id,omitempty"`
	Name   string   `json:"name,omitempty" example:"ci"`
	Scopes []string `json:"scopes" enum:"read,request,decide,admin" doc:"What the token may do, of what its user may do."`
}

func (a *API) me() []Operation {
	return []Operation{
		op(Operation{ID: "getMe", Method: "GET", Path: "/me", Action: domain.HomeRead, Tag: "me", Summary: "Who I am, and what I may do"},
			func(_ context.Context, actor domain.Actor, _ struct{}) (Me, error) {
				me := Me{ID: actor.UserID, Username: actor.Username, DisplayName: actor.DisplayName, Roles: roles(actor.Bindings)}
				if actor.Token != nil {
					me.Token = &Token{ID: actor.Token.ID, Name: actor.Token.Name, Scopes: []string{}}
					for _, s := range actor.Token.Scopes {
						me.Token.Scopes = append(me.Token.Scopes, string(s))
					}
				}
				return me, nil
			}),
		op(Operation{
			ID: "endMySessions", Method: "POST", Path: "/me/sessions/end", Action: domain.SessionEnd, Tag: "me", Summary: "Sign out everywhere",
			Text: "Ends all sessions of browsers, on every device.", Pages: []string{"POST /logout/everywhere"},
		}, func(ctx context.Context, actor domain.Actor, _ struct{}) (none, error) {
			return none{}, a.Accounts.EndSessions(ctx, actor, actor.UserID)
		}),
	}
}
