package kafkatest

import (
	"crypto"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"math/big"
	"net/http"
	"net/http/httptest"
	"sync/atomic"
	"time"
)

// Issuer is a fake issuer of OAuth tokens on a loopback port. It supports the client credentials
// grant and signs the tokens. A token's subject is the client ID.
type Issuer struct {
	Secret string // secret of every client

	lifetime time.Duration
	server   *httptest.Server
	key      *rsa.PrivateKey
	down     atomic.Bool
	issued   atomic.Int64
}

// NewIssuer starts an issuer. Its tokens expire after lifetime, a whole number of seconds.
func NewIssuer(lifetime time.Duration) (*Issuer, error) {
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		return nil, err
	}
	i := &Issuer{Secret: "secret-of-the-clients", lifetime: lifetime, key: key}
	routes := http.NewServeMux()
	routes.HandleFunc("POST /token", i.token)
	routes.HandleFunc("GET /keys", i.keys)
	i.server = httptest.NewServer(routes)
	return i, nil
}

// Close stops the issuer.
func (i *Issuer) Close() { i.server.Close() }

// TokenURL returns the URL of the token endpoint.
func (i *Issuer) TokenURL() string { return i.server.URL + "/token" }

// SetDown makes requests for tokens fail or succeed. The keys stay available.
func (i *Issuer) SetDown(down bool) { i.down.Store(down) }

// Issued returns the number of issued tokens.
func (i *Issuer) Issued() int { return int(i.issued.Load()) }

func (i *Issuer) keysURL() string { return i.server.URL + "/keys" }

func (i *Issuer) token(w http.ResponseWriter, r *http.Request) {
	client, secret, ok := r.BasicAuth()
	if !ok {
		client, secret = r.FormValue("client_id"), r.FormValue("client_secret")
	}
	switch {
	case i.down.Load():
		respond(w, http.StatusServiceUnavailable, map[string]any{"error": "temporarily_unavailable"})
	case r.FormValue("grant_type") != "client_credentials":
		respond(w, http.StatusBadRequest, map[string]any{"error": "unsupported_grant_type"})
	case secret != i.Secret:
		respond(w, http.StatusUnauthorized, map[string]any{"error": "invalid_client"})
	default:
		i.issued.Add(1)
		seconds := int(i.lifetime / time.Second)
		respond(w, http.StatusOK, map[string]any{
			"access_token": i.sign(client), "token_type": "Bearer", "expires_in": seconds,
		})
	}
}

// sign returns a signed JWT for the given subject.
func (i *Issuer) sign(subject string) string {
	now := time.Now()
	signed := encode(map[string]any{"alg": "RS256", "typ": "JWT", "kid": "1"}) + "." + encode(map[string]any{
		"iss": i.server.URL, "sub": subject, "aud": "kafka", "scope": "kafka",
		"iat": now.Unix(), "exp": now.Add(i.lifetime).Unix(),
	})
	hash := sha256.Sum256([]byte(signed))
	signature, err := rsa.SignPKCS1v15(rand.Reader, i.key, crypto.SHA256, hash[:])
	if err != nil {
		panic("kafkatest: " + err.Error()) // unreachable: the key is valid
	}
	return signed + "." + base64.RawURLEncoding.EncodeToString(signature)
}

// keys responds with the public key as a JSON Web Key Set (RFC 7517).
func (i *Issuer) keys(w http.ResponseWriter, _ *http.Request) {
	public := i.key.PublicKey
	respond(w, http.StatusOK, map[string]any{"keys": []any{map[string]any{
		"kty": "RSA", "kid": "1", "alg": "RS256", "use": "sig",
		"n": base64.RawURLEncoding.EncodeToString(public.N.Bytes()),
		"e": base64.RawURLEncoding.EncodeToString(big.NewInt(int64(public.E)).Bytes()),
	}}})
}

func encode(part map[string]any) string {
	b, _ := json.Marshal(part) // cannot fail: all values are strings or numbers
	return base64.RawURLEncoding.EncodeToString(b)
}

func respond(w http.ResponseWriter, status int, body map[string]any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(body)
}
