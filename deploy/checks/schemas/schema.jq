# Converts an OpenAPI document of Kubernetes, or a CustomResourceDefinition, to the JSON schema of one
# kind. The schema is self-contained, has no descriptions, and does not allow unknown fields.
#
#   gojq --arg kind Deployment -f schema.jq openapi.json

def convert:
  if ."x-kubernetes-int-or-string" or .format == "int-or-string" then
    {oneOf: [{type: "integer"}, {type: "string"}]}
  else
    with_entries(select(.key | IN("type", "enum", "required", "pattern", "minimum", "maximum", "minLength", "maxLength",
      "minItems", "maxItems", "minProperties", "maxProperties")))
    + (if ."$ref" then {"$ref": ("#/definitions/" + (."$ref" | split("/") | last))} else {} end)
    + (if .items then {items: (.items | convert)} else {} end)
    + (if .allOf then {allOf: (.allOf | map(convert))} else {} end)
    + (if .oneOf then {oneOf: (.oneOf | map(convert))} else {} end)
    + (if .properties then {properties: (.properties | map_values(convert)), additionalProperties: false}
       elif (.additionalProperties | type) == "object" then {additionalProperties: (.additionalProperties | convert)}
       else {} end)
  end;

# The names of the given schemas and of all schemas that they refer to.
def reached($schemas):
  ([.[] | $schemas[.] | .. | objects | ."$ref" // empty | split("/") | last] + . | unique) as $names
  | if $names == . then . else $names | reached($schemas) end;

if .kind == "CustomResourceDefinition" then
  .spec.versions[] | select(.storage) | .schema.openAPIV3Schema | convert
else
  .components.schemas as $schemas
  | ($schemas | to_entries[]
     | select(.value."x-kubernetes-group-version-kind"? // [] | length == 1 and .[0].kind == $kind)
     | .key) as $root
  | ([$root] | reached($schemas)) as $names
  | {"$ref": ("#/definitions/" + $root),
     definitions: ($names | map({key: ., value: ($schemas[.] | convert)}) | from_entries)}
end
