// Reads a JSON list of the Prometheus Operator's objects from stdin, and prints the error of each, or null, as JSON.
import * as v1 from "@kubernetes-models/prometheus-operator/monitoring.coreos.com/v1";
import { readFileSync } from "node:fs";

function validate(object) {
  if (!(object.kind in v1)) return `unknown kind ${object.kind} in monitoring.coreos.com/v1`;
  try {
    new v1[object.kind](object).validate();
    return null;
  } catch (error) {
    return error.message;
  }
}

console.log(JSON.stringify(JSON.parse(readFileSync(0, "utf8")).map(validate)));
