package account

import (
	"context"

	"kubevirt-shepherd.io/shepherd/ent"
	"kubevirt-shepherd.io/shepherd/ent/user"
	"kubevirt-shepherd.io/shepherd/internal/domain"
	apperr "kubevirt-shepherd.io/shepherd/internal/pkg/errors"
	"kubevirt-shepherd.io/shepherd/internal/usecase/audit"
	"kubevirt-shepherd.io/shepherd/internal/usecase/listing"
)

// SetLanguage keeps the language, a BCP 47 tag, in which the actor reads pages.
// SIGNED_OUT when the account is gone.
func (s *Service) SetLanguage(ctx context.Context, actor domain.Actor, lang string) error {
	id, err := listing.Key(actor.UserID)
	if err != nil {
		return apperr.New(apperr.ErrSignedOut)
	}
	return s.DB.InTx(ctx, func(tx *ent.Tx) error {
		u, err := lock(ctx, tx, id)
		if apperr.CodeOf(err) == apperr.ErrNotFound {
			return apperr.New(apperr.ErrSignedOut)
		}
		if err != nil {
			return err
		}
		n, err := tx.User.Update().Where(user.ID(id), user.Or(user.LanguageIsNil(), user.LanguageNEQ(lang))).SetLanguage(lang).Save(ctx)
		if err != nil || n == 0 { // it is so already
			return err
		}
		return audit.Write(ctx, tx, actor, audit.Entry{
			Action: "user.set_language", ResourceType: "user", ResourceID: actor.UserID, ResourceName: actor.Username,
			Before: map[string]any{"language": languageOf(u)}, After: map[string]any{"language": lang},
		})
	})
}

func languageOf(u *ent.User) string {
	if u.Language == nil {
		return ""
	}
	return *u.Language
}
