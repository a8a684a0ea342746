//go:build unix

package kafkatest

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// Listener is the name of a cluster listener. Every cluster has Plain, and a secured cluster has
// all listeners. On a secured cluster, authenticated users have only the permissions granted by
// Allow. Clients that use Plain or TLS are anonymous and have all permissions.
type Listener string

// A secured cluster has these listeners. SASL and SASLTLS support PLAIN, SCRAM-SHA-256, and
// SCRAM-SHA-512 for the users in ApacheConfig. With an issuer in ApacheConfig, SASL also supports
// OAUTHBEARER.
const (
	Plain     Listener = "PLAIN"   // neither encrypted nor authenticated; also used between brokers
	TLS       Listener = "TLS"     // encrypted; the broker presents a certificate issued by the CA in CAFile
	MutualTLS Listener = "MTLS"    // like TLS; the user is the client certificate's common name; see ClientCert
	SASL      Listener = "SASL"    // user name and password, not encrypted
	SASLTLS   Listener = "SASLTLS" // user name and password, encrypted like TLS

	controller Listener = "CONTROLLER"
)

// securityProtocols maps a secured cluster's listeners to Kafka security protocols.
var securityProtocols = map[Listener]string{
	controller: "PLAINTEXT", Plain: "PLAINTEXT", TLS: "SSL", MutualTLS: "SSL", SASL: "SASL_PLAINTEXT",
	SASLTLS: "SASL_SSL",
}

// secure adds the settings of a secured cluster to p.
func (a *Apache) secure(p map[string]string) {
	p["authorizer.class.name"] = "org.apache.kafka.metadata.authorizer.StandardAuthorizer"
	p["super.users"] = "User:ANONYMOUS"

	p["ssl.keystore.type"] = "PEM"
	p["ssl.keystore.location"] = a.cert
	p["ssl.truststore.type"] = "PEM"
	p["ssl.truststore.location"] = a.certs.caFile
	p["ssl.principal.mapping.rules"] = "RULE:^CN=(.*)$/$1/"
	p["listener.name.mtls.ssl.client.auth"] = "required"

	p["sasl.enabled.mechanisms"] = "PLAIN,SCRAM-SHA-256,SCRAM-SHA-512"
	var plain strings.Builder
	for _, user := range slices.Sorted(maps.Keys(a.cfg.Users)) {
		fmt.Fprintf(&plain, " user_%s=%q", user, a.cfg.Users[user])
	}
	const security = "org.apache.kafka.common.security."
	for _, l := range []string{"sasl", "sasltls"} {
		p["listener.name."+l+".plain.sasl.jaas.config"] = security + "plain.PlainLoginModule required" +
			plain.String() + ";"
		for _, m := range []string{"scram-sha-256", "scram-sha-512"} {
			p["listener.name."+l+"."+m+".sasl.jaas.config"] = security + "scram.ScramLoginModule required;"
		}
	}
	if a.cfg.Issuer == nil {
		return
	}
	p["listener.name.sasl.sasl.enabled.mechanisms"] = p["sasl.enabled.mechanisms"] + ",OAUTHBEARER"
	p["sasl.oauthbearer.jwks.endpoint.url"] = a.cfg.Issuer.keysURL()
	p["sasl.oauthbearer.expected.issuer"] = a.cfg.Issuer.server.URL
	p["sasl.oauthbearer.expected.audience"] = "kafka"
	p["sasl.oauthbearer.clock.skew.seconds"] = "0"
	// A connection must authenticate again before its token expires (KIP-368).
	p["connections.max.reauth.ms"] = "3600000"
	const prefix = "listener.name.sasl.oauthbearer.sasl."
	p[prefix+"jaas.config"] = security + "oauthbearer.OAuthBearerLoginModule required;"
	p[prefix+"server.callback.handler.class"] = security + "oauthbearer.OAuthBearerValidatorCallbackHandler"
}

// addUsers creates the users' SCRAM credentials, which Kafka stores in its metadata.
func (a *Apache) addUsers(ctx context.Context) error {
	if a.Old() {
		return nil
	}
	for _, m := range []kadm.ScramMechanism{kadm.ScramSha256, kadm.ScramSha512} { // a request may name a user only once
		var users []kadm.UpsertSCRAM
		for user, password := range a.cfg.Users {
			users = append(users, kadm.UpsertSCRAM{User: user, Mechanism: m, Iterations: 4096, Password: password})
		}
		rs, err := a.adm.AlterUserSCRAMs(ctx, nil, users)
		if err = errors.Join(err, rs.Error()); err != nil {
			return fmt.Errorf("add users: %w", err)
		}
	}
	return nil
}

// CAFile returns the path of the secured cluster's CA certificate in PEM format.
func (a *Apache) CAFile() string { return a.certs.caFile }

// ClientCert issues a certificate for a MutualTLS user. It returns the path of a PEM file with the
// certificate and its key.
func (a *Apache) ClientCert(user string) (string, error) { return a.certs.issue(user) }

// Allow grants a user of a secured cluster the permissions in acls. It returns when all serving
// nodes know the grant.
func (a *Apache) Allow(ctx context.Context, user string, acls *kadm.ACLBuilder) error {
	acls.Allow("User:" + user).AllowHosts().ResourcePatternType(kadm.ACLPatternLiteral)
	created, err := a.adm.CreateACLs(ctx, acls)
	if err != nil {
		return fmt.Errorf("add ACLs for %s: %w", user, err)
	}
	for _, c := range created {
		if c.Err != nil {
			return fmt.Errorf("add ACLs for %s: %w", user, c.Err)
		}
		req := kmsg.NewPtrDescribeACLsRequest()
		req.ResourceType, req.ResourceName, req.ResourcePatternType = c.Type, &c.Name, c.Pattern
		req.Principal, req.Host, req.Operation, req.PermissionType = &c.Principal, &c.Host, c.Operation, c.Permission
		err := a.everywhere(ctx, func(ctx context.Context, b *kgo.Broker) error {
			resp, err := req.RequestWith(ctx, b)
			if err == nil && len(resp.Resources) == 0 {
				err = errors.New("ACL not found")
			}
			return err
		})
		if err != nil {
			return fmt.Errorf("add ACLs for %s: %w", user, err)
		}
	}
	return nil
}
