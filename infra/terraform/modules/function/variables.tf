variable "audiences" {
  description = "The addresses that callers use, known before the service exists; each is an audience of their tokens."
  type        = list(string)
}

variable "concurrency" {
  description = "Requests that one instance serves at once."
  type        = number
}

variable "connections" {
  description = "Database connections (= threads) of one instance."
  type        = number
}

variable "cpu" {
  description = "CPUs of one instance."
  type        = number
}

variable "database_connection_name" {
  description = "Connection name of the Cloud SQL instance whose socket is mounted below /cloudsql; null for a database that is reached by its address."
  type        = string
  default     = null
}

variable "deadline_s" {
  description = "Seconds that the caller (queue or scheduler) waits; null for a public function, and where the code keeps each function's."
  type        = number
  default     = null
}

variable "enqueues" {
  description = "Queues that it may put tasks on."
  type        = list(string)
}

variable "environment_variables" {
  description = "Settings that are no secrets."
  type        = map(string)
}

variable "image" {
  description = "The release's image, by its digest."
  type        = string
}

variable "invokers" {
  description = "Who may call it, when it is not public: name = IAM member."
  type        = map(string)
}

variable "max_instances" {
  description = "Most instances at once."
  type        = number
}

variable "memory_mib" {
  description = "Memory of one instance, MiB."
  type        = number
}

variable "min_instances" {
  description = "Instances that are kept without any calls."
  type        = number
}

variable "probes" {
  description = "What every instance is asked by GET (functions/probes.json): `path`, and how often and how patiently until it has started and from then on."
  type = object({
    path     = string
    startup  = object({ period_s = number, timeout_s = number, failure_threshold = number })
    liveness = object({ period_s = number, timeout_s = number, failure_threshold = number })
  })

  validation {
    condition     = alltrue([for probe in [var.probes.startup, var.probes.liveness] : probe.timeout_s >= 1 && probe.timeout_s <= probe.period_s && probe.failure_threshold >= 1])
    error_message = "functions/probes.json: a probe must have ended before the next one begins, and fail at least once before it counts."
  }
}

variable "project_id" {
  description = "Project."
  type        = string
}

variable "region" {
  description = "Region."
  type        = string
}

variable "release" {
  description = "Id of the release, as a label of each revision."
  type        = string
}

variable "secrets" {
  description = "Setting = the secret and the version that hold its value."
  type = map(object({
    secret_id = string
    version   = string
  }))
}

variable "service" {
  description = "Name on the platform, kebab-case."
  type        = string
}

variable "socket_timeout_s" {
  description = "Seconds after which a database call counts as dead."
  type        = number
}

variable "target" {
  description = "Entry point: FUNCTION_TARGET."
  type        = string
}

variable "tasks_invokers" {
  description = "Queue = address of the service account as whom its tasks call: those that the function may act as, of the queues that it enqueues on."
  type        = map(string)

  validation {
    condition     = length(setsubtract(keys(var.tasks_invokers), var.enqueues)) == 0
    error_message = "A function acts as the invokers of the queues that it enqueues on, and as no other."
  }
}

variable "timeout_s" {
  description = "Seconds that a request may take."
  type        = number
}

variable "trigger" {
  description = "public, task or schedule; private for the one service of all that are not public."
  type        = string

  validation {
    condition     = contains(["public", "task", "schedule", "private"], var.trigger)
    error_message = "A service's trigger is public, task, schedule or private."
  }
}
