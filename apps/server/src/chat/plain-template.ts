/** The template of models that have none. */

/** A line `role: text` for each message, a blank line between; `User:` as a stop string ends the answer. */
export const plainTemplate =
  "{{ bos_token }}{% for message in messages %}{{ message['role'] | capitalize }}: {{ message['content'] }}\n\n{% endfor %}{% if add_generation_prompt %}Assistant:{% endif %}";

/** Where an answer under the plain template ends. */
export const plainStops: readonly string[] = ["\n\nUser:", "\n\nSystem:"];
