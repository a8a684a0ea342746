// Package config defines, reads, and validates the program's configuration.
//
//  1. The fields of [Config] are the only definition of the keys. Their tags hold each key's name,
//     default, and rule. The YAML parser, the names of the environment variables, the validation,
//     [WriteExample], [WriteSchema], and [Config.WriteEffective] are derived from them.
//  2. The environment overrides the file, and the file overrides the defaults. The variable of a
//     key is its path in upper case with the prefix S2LD_ and underscores for dots:
//     kafka.sasl.username is S2LD_KAFKA_SASL_USERNAME. An empty variable sets a string or a list to
//     empty.
//  3. All errors are reported together, as [Problems]: unknown keys and variables with the nearest
//     known name, and each invalid value with its key, the broken rule, and the line or variable
//     that set it.
//  4. A [Secret] is set inline or by file, never both. Its value appears in no error, log, or
//     output. Secret files and certificates are read again for each new connection to Kafka, so
//     they can be rotated while the program runs.
//
// The package has no state and starts no goroutines.
package config
