// Package config holds the program's configuration: what can be set, how it is read, and what is legal.
//
//  1. The structs of [Config] are the only source. Their tags give each key's name, default, rule and description, and
//     the file's parser, the environment's names, the checks, [Example], [Schema] and [Config.Effective] all derive
//     from them.
//  2. Defaults come first, then the file, then the environment. The variable of a key is S2LD_ and its path in upper
//     case with _ between the parts: kafka.sasl.username is S2LD_KAFKA_SASL_USERNAME. An empty variable sets a text or
//     a list to empty.
//  3. Everything wrong is reported at once, as [Problems]: unknown keys and variables with the nearest known one, and
//     each bad value with its key, the rule it breaks, and the line or the variable it came from.
//  4. A [Secret] is given by value or by file, never both. Its value appears in no error, log or output. Secrets and
//     certificates that were given by file are read again for each new connection to Kafka, so they can be rotated
//     under a running program.
//
// The package keeps no state and starts nothing.
package config
