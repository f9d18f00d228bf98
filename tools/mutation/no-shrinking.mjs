// A property that fails has noticed the mutant; looking for its smallest counterexample would take most of the run.
import fc from "fast-check";

fc.configureGlobal({ ...fc.readConfigureGlobal(), endOnFailure: true });
