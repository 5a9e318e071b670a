//! Connects the stages: each is given the adapters and the stages that it uses.

use std::sync::Arc;

use firebreak_aws::deadline::Deadline;
use firebreak_aws::organization::Organization;
use firebreak_aws::policies::Policies;

use super::approve::Approvals;
use super::assess::Assessor;
use super::confirm::Confirmer;
use super::deliver::Deliverer;
use super::execute::Executor;
use super::handle_target::TargetHandler;
use super::member_accounts::MemberAccounts;
use super::pause::Pauser;
use super::recorder::Recorder;
use super::recover::Recoverer;
use super::respond::Responder;
use super::suppress::Suppressor;
use super::sweep::Sweeper;
use super::unconfirmed::UnconfirmedRecorder;
use super::undo::Undoer;

/// What the stages share, and how each is built of it.
pub(super) struct Stages {
    pub(super) recorder: Recorder,
    pub(super) members: MemberAccounts,
    pub(super) confirmer: Confirmer,
    pub(super) deliverer: Deliverer,
    pub(super) policies: Arc<Policies>,
    pub(super) organization: Arc<Organization>,
    pub(super) deadline: Deadline,
    pub(super) share_places: bool,
}

impl Stages {
    pub(super) fn responder(&self) -> Responder {
        Responder {
            recorder: self.recorder.clone(),
            deadline: self.deadline.clone(),
            recoverer: self.recoverer(),
            confirmer: self.confirmer.clone(),
            policies: self.policies.clone(),
            handler: TargetHandler {
                assessor: self.assessor(),
                recorder: self.recorder.clone(),
                organization: self.organization.clone(),
                executor: self.executor(),
                recoverer: self.recoverer(),
                unconfirmed: UnconfirmedRecorder {
                    recorder: self.recorder.clone(),
                    deliverer: self.deliverer.clone(),
                },
                deliverer: self.deliverer.clone(),
                share_places: self.share_places,
            },
        }
    }

    fn assessor(&self) -> Assessor {
        Assessor {
            policies: self.policies.clone(),
            members: self.members.clone(),
            confirmer: self.confirmer.clone(),
            recorder: self.recorder.clone(),
        }
    }

    fn executor(&self) -> Executor {
        Executor {
            recorder: self.recorder.clone(),
            members: self.members.clone(),
            policies: self.policies.clone(),
            organization: self.organization.clone(),
            deliverer: self.deliverer.clone(),
            deadline: self.deadline.clone(),
        }
    }

    pub(super) fn undoer(&self) -> Undoer {
        Undoer {
            recorder: self.recorder.clone(),
            members: self.members.clone(),
            deliverer: self.deliverer.clone(),
        }
    }

    fn recoverer(&self) -> Recoverer {
        Recoverer {
            recorder: self.recorder.clone(),
            executor: self.executor(),
            undoer: self.undoer(),
            deliverer: self.deliverer.clone(),
        }
    }

    pub(super) fn approvals(&self) -> Approvals {
        Approvals {
            recorder: self.recorder.clone(),
            policies: self.policies.clone(),
            organization: self.organization.clone(),
            members: self.members.clone(),
            executor: self.executor(),
            deliverer: self.deliverer.clone(),
        }
    }

    pub(super) fn suppressor(&self) -> Suppressor {
        Suppressor { recorder: self.recorder.clone() }
    }

    pub(super) fn pauser(&self) -> Pauser {
        Pauser {
            recorder: self.recorder.clone(),
            policies: self.policies.clone(),
            organization: self.organization.clone(),
        }
    }

    pub(super) fn sweeper(&self) -> Sweeper {
        Sweeper {
            recorder: self.recorder.clone(),
            deliverer: self.deliverer.clone(),
            recoverer: self.recoverer(),
            undoer: self.undoer(),
            approvals: self.approvals(),
            policies: self.policies.clone(),
            organization: self.organization.clone(),
            share_places: self.share_places,
            deadline: self.deadline.clone(),
        }
    }
}
