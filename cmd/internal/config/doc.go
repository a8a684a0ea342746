// Package config defines, reads, and validates the program's configuration.
//
//  1. The fields of [Config] are the only definition of the configuration keys. Field tags specify
//     each key's name, default, and rule. The YAML parser, the environment variables, the
//     validation, [WriteExample], [WriteSchema], and [Config.WriteEffective] are derived from them.
//  2. Environment variables override the file, and the file overrides the defaults. The variable
//     for a key is its path in upper case, with the prefix S2LD_ and underscores for dots. For
//     example, kafka.sasl.username becomes S2LD_KAFKA_SASL_USERNAME. An empty variable sets a
//     string, a list, or a mapping to empty.
//  3. All invalid keys and values are reported together, as [Problems]. An unknown key or variable
//     is reported with the nearest known name. An invalid value is reported with its key, the
//     broken rule, and the line or variable that set it.
//  4. A [Secret] is set inline or by file, never both. The value of a Secret never appears in
//     errors, logs, or output. Secret files and certificates are read again for each new connection
//     to Kafka, for each token under kafka.sasl.oauth, or for each request to LaunchDarkly, so they
//     can be rotated while the program runs. Only launchdarkly.ca_file is read once, at the start.
//  5. All Kafka clients of a [Config] share one OAuth token or AWS identity, which is renewed before
//     it expires. If this fails, the old one is used until it expires. [Load] sends no requests.
//
// Except for this token or identity, the package has no mutable state. It starts no goroutines.
package config
